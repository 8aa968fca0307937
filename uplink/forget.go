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

const retainedWait = 3 * time.Second // for a retained message; there may be none

// Forget clears what the broker retains of this agent: the announcement to Home
// Assistant, the states, and, if whole, what agent/... says of it. It is for a
// node that is taken out of service. It returns the topics that it cleared.
//
// The session has a client ID of its own, so that an agent that runs is not
// taken over, except by a broker that makes client IDs of user names.
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

// forgetting is what to publish so that nothing is left: what the last birth
// lists, and what the configuration has now.
func (o Options) forgetting(previous []byte, whole bool) []mqtt.Message {
	nothing := o
	nothing.Streams, nothing.HomeAssistant = nil, HomeAssistant{}
	var was birth
	json.Unmarshal(previous, &was) // what is no birth lists nothing
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

// retained returns what the broker retains on a topic, nothing if that does not
// come in time.
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
