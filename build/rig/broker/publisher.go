package broker

import (
	"context"
	"fmt"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A Publisher is a client that only publishes. Its methods may be called from any
// goroutine.
type Publisher struct{ client mqtt.Client }

// PublishAs connects a publisher, which reconnects after an outage of the broker.
func PublishAs(l Login) (*Publisher, error) {
	o := mqtt.NewClientOptions().AddBroker(l.Server).SetClientID(l.ClientID).SetCleanSession(true).
		SetUsername(l.Username).SetPassword(l.Password).SetTLSConfig(l.TLS).SetProtocolVersion(4).
		SetKeepAlive(keepAlive).SetMaxReconnectInterval(200 * time.Millisecond)
	p := &Publisher{mqtt.NewClient(o)}
	if err := done(p.client.Connect()); err != nil {
		p.client.Disconnect(0)
		return nil, fmt.Errorf("connect the publisher: %w", err)
	}
	return p, nil
}

// Publish publishes at QoS 1, and returns when the broker has acknowledged it.
func (p *Publisher) Publish(topic, payload string, retain bool) error {
	if err := done(p.client.Publish(topic, 1, retain, payload)); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Flood publishes the same message at QoS 0 until ctx is done, at most perSecond times a
// second; the broker may be slower. It returns the number of messages.
func (p *Publisher) Flood(ctx context.Context, topic, payload string, perSecond int) (n int) {
	for began := time.Now(); ctx.Err() == nil; {
		if due := int(time.Since(began).Seconds() * float64(perSecond)); n >= due {
			time.Sleep(time.Millisecond)
			continue
		}
		p.client.Publish(topic, 0, false, payload)
		n++
	}
	return n
}

// Close ends the connection.
func (p *Publisher) Close() { p.client.Disconnect(100) }
