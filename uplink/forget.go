package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	retainedWait = 3 * time.Second // for a retained message; there may be none
	forgetBatch  = 20              // messages in flight
)

// Forget clears what the broker retains of this agent: the announcement to Home
// Assistant, the states, and, if whole, what agent/... says of it. It is for a
// node that is taken out of service. It returns the topics that it cleared.
//
// The session has a client ID of its own, so that an agent that runs is not
// taken over, except by a broker that makes client IDs of user names.
func (o Options) Forget(ctx context.Context, whole bool) (topics []string, err error) {
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
	previous, err := conn.retained(ctx, newTopics(o).agent("info"))
	if err != nil {
		return nil, err
	}
	for batch := range slices.Chunk(o.forgetting(previous, whole), forgetBatch) {
		if err := conn.Publish(ctx, batch...); err != nil {
			return topics, err
		}
		for _, m := range batch {
			topics = append(topics, m.Topic)
		}
	}
	return topics, nil
}

// forgetting is what to publish so that nothing is left: what the last birth
// lists, and what the configuration has now.
func (o Options) forgetting(previous []byte, whole bool) []Message {
	nothing := o
	nothing.Streams, nothing.HomeAssistant = nil, HomeAssistant{}
	msgs := cleanup(birthOf(o).json(), nothing)
	msgs = append(msgs, cleanup(previous, nothing)...)
	msgs = append(msgs, Message{Topic: discoveryTopic(o.HomeAssistant.Prefix, o.ClientID), Retain: true})
	if whole {
		for _, what := range []string{"health", "info", "status"} {
			msgs = append(msgs, Message{Topic: newTopics(o).agent(what), Retain: true})
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
	token := c.client.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) {
		select {
		case got <- m.Payload():
		default:
		}
	})
	wait, cancel := context.WithTimeout(ctx, retainedWait)
	defer cancel()
	select {
	case payload := <-got:
		return payload, nil
	case <-c.lost:
		return nil, fmt.Errorf("connection lost: %w", c.why)
	case <-wait.Done():
	}
	select {
	case <-token.Done():
		return nil, errors.Join(ctx.Err(), token.Error())
	default:
		return nil, errors.Join(ctx.Err(), errors.New("the broker does not answer a subscription"))
	}
}
