package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

const retainedWait = 3 * time.Second // how long to wait for a retained message that may not exist

// Forget clears what the broker retains of this agent, for a node that is taken out of
// service: the announcement to Home Assistant, the states and, if whole, the topics
// agent/.... It returns the topics that it cleared, also with an error.
//
// It uses another client ID than the agent, so that it does not end the session of a
// running agent. With a broker that uses user names as client IDs it does.
func (o Options) Forget(ctx context.Context, whole bool) (topics []string, err error) {
	if o.NoRetain {
		return nil, errors.New("mqtt.retain is false: the broker keeps nothing that could be cleared")
	}
	aside := o
	aside.ClientID += "-ha"
	if aside.Username == "" && o.Password.IsSet() {
		aside.Username = o.ClientID
	}
	conn, err := DialMQTT(aside.Broker)(ctx, mqtt.Message{})
	if err != nil {
		return nil, err
	}
	defer func() {
		conn.Disconnect()
		err = errors.Join(err, conn.Close())
	}()
	previous, err := retained(ctx, conn, o.topicNames().Agent("info"))
	if err != nil {
		return nil, err
	}
	for _, m := range o.forgetting(previous, whole) {
		if err := await(ctx, conn, conn.Publish(m)); err != nil {
			return topics, err
		}
		topics = append(topics, m.Topic)
	}
	return topics, nil
}

// forgetting returns the messages that clear everything that the last birth lists and that
// the configuration has now.
func (o Options) forgetting(previous []byte, whole bool) []mqtt.Message {
	nothing := o
	nothing.Streams, nothing.HomeAssistant = nil, HomeAssistant{}
	var was birth
	json.Unmarshal(previous, &was) // after an error it lists nothing
	mine := birthOf(o)
	mine.Split = was.Split
	msgs := cleanup(mine.json(), nothing)
	msgs = append(msgs, cleanup(previous, nothing)...)
	msgs = append(msgs, mqtt.Message{Topic: homeassistant.DiscoveryTopic(o.HomeAssistant.Prefix, o.ClientID),
		Retain: true})
	if whole {
		for _, what := range []string{"health", "info", "status"} {
			msgs = append(msgs, mqtt.Message{Topic: o.topicNames().Agent(what), Retain: true})
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(msgs, func(m mqtt.Message) bool {
		again := seen[m.Topic]
		seen[m.Topic] = true
		return again
	})
}

// retained returns the payload that the broker retains on a topic, or nil if none comes
// within retainedWait.
func retained(ctx context.Context, conn Conn, topic string) ([]byte, error) {
	if err := await(ctx, conn, conn.Subscribe(topic)); err != nil {
		return nil, err
	}
	late := time.NewTimer(retainedWait)
	defer late.Stop()
	select {
	case m := <-conn.Received():
		return m.Payload, nil
	case <-late.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// await waits until the broker has answered.
func await(ctx context.Context, conn Conn, token mqtt.Token) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-conn.Done():
		return fmt.Errorf("connection lost: %w", conn.Err())
	case <-ctx.Done():
		return fmt.Errorf("the broker does not answer: %w", ctx.Err())
	}
}
