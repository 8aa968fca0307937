package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
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
	dialled, err := DialMQTT(aside)(ctx, Message{})
	if err != nil {
		return nil, err
	}
	conn := dialled.(*mqttConn)
	defer func() {
		conn.Disconnect()
		err = errors.Join(err, conn.Close())
	}()
	previous, err := conn.retained(ctx, o.topicNames().Agent("info"))
	if err != nil {
		return nil, err
	}
	for _, m := range o.forgetting(previous, whole) {
		if err := conn.await(ctx, conn.client.Publish(m.Topic, 1, m.Retain, m.Payload)); err != nil {
			return topics, err
		}
		topics = append(topics, m.Topic)
	}
	return topics, nil
}

// forgetting is what to publish so that nothing is left: what the last birth
// lists, and what the configuration has now.
func (o Options) forgetting(previous []byte, whole bool) []Message {
	nothing := o
	nothing.Streams, nothing.HomeAssistant = nil, HomeAssistant{}
	var was birth
	json.Unmarshal(previous, &was) // what is no birth lists nothing
	mine := birthOf(o)
	mine.Split = was.Split
	msgs := cleanup(mine.json(), nothing)
	msgs = append(msgs, cleanup(previous, nothing)...)
	msgs = append(msgs, Message{Topic: discoveryTopic(o.HomeAssistant.Prefix, o.ClientID), Retain: true})
	if whole {
		for _, what := range []string{"health", "info", "status"} {
			msgs = append(msgs, Message{Topic: o.topicNames().Agent(what), Retain: true})
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(msgs, func(m Message) bool {
		again := seen[m.Topic]
		seen[m.Topic] = true
		return again
	})
}

// retained returns what the broker retains on a topic, nothing if that does not
// come in time.
func (c *mqttConn) retained(ctx context.Context, topic string) ([]byte, error) {
	got := make(chan []byte, 1)
	heard := func(_ mqtt.Client, m mqtt.Message) {
		select {
		case got <- m.Payload():
		default:
		}
	}
	if err := c.await(ctx, c.client.Subscribe(topic, 1, heard)); err != nil {
		return nil, err
	}
	select {
	case payload := <-got:
		return payload, nil
	case <-time.After(retainedWait):
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// await waits until the broker has answered.
func (c *mqttConn) await(ctx context.Context, token mqtt.Token) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-c.lost:
		return fmt.Errorf("connection lost: %w", c.why)
	case <-ctx.Done():
		return fmt.Errorf("the broker does not answer: %w", ctx.Err())
	}
}
