package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// An Arrival is one message that a subscriber received.
type Arrival struct {
	Topic    string
	Payload  string
	Retained bool // it was retained before the subscription
	At       time.Time
}

// A Recorder is a subscriber that stores all arrivals in order. Its session is persistent
// and at QoS 1: a message that it does not have did not reach the broker.
type Recorder struct {
	client mqtt.Client
	filter string

	mu       sync.Mutex
	arrivals []Arrival
	sessions int           // number of sessions that have subscribed
	more     chan struct{} // closed and replaced at every arrival and every session
}

// A Login is how a client connects to a broker.
type Login struct {
	Server             string // tcp://HOST:PORT or ssl://HOST:PORT
	ClientID           string
	Username, Password string
	TLS                *tls.Config
	Clean              bool // a clean session
}

// Record subscribes without TLS and without a password.
func Record(address, clientID, filter string) (*Recorder, error) {
	return RecordAs(Login{Server: "tcp://" + address, ClientID: clientID}, filter)
}

// RecordAs subscribes. After an outage of the broker the recorder reconnects within a
// second and subscribes again, because the broker may have lost the session.
func RecordAs(l Login, filter string) (*Recorder, error) {
	r := &Recorder{filter: filter, more: make(chan struct{})}
	o := mqtt.NewClientOptions().AddBroker(l.Server).SetClientID(l.ClientID).SetCleanSession(l.Clean).
		SetUsername(l.Username).SetPassword(l.Password).SetTLSConfig(l.TLS).SetProtocolVersion(4).
		SetKeepAlive(keepAlive).SetMaxReconnectInterval(200 * time.Millisecond).
		SetDefaultPublishHandler(r.arrived) // queued messages of the session may come before the subscription
	subscribed := make(chan error, 1) // of the first session
	o.SetOnConnectHandler(func(mqtt.Client) {
		err := r.subscribe()
		select {
		case subscribed <- err:
		default:
		}
	})
	r.client = mqtt.NewClient(o)
	if err := done(r.client.Connect()); err != nil {
		r.client.Disconnect(0)
		return nil, fmt.Errorf("connect the recorder: %w", err)
	}
	if err := <-subscribed; err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Recorder) subscribe() error {
	if err := done(r.client.Subscribe(r.filter, 1, nil)); err != nil {
		return fmt.Errorf("subscribe to %s: %w", r.filter, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions++
	r.notifyLocked()
	return nil
}

// Sessions is how often the recorder has subscribed.
func (r *Recorder) Sessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions
}

// Close ends the recording.
func (r *Recorder) Close() {
	const quiesce = 100 // milliseconds
	r.client.Disconnect(quiesce)
}

func (r *Recorder) arrived(_ mqtt.Client, m mqtt.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrivals = append(r.arrivals, Arrival{m.Topic(), string(m.Payload()), m.Retained(), time.Now()})
	r.notifyLocked()
}

func (r *Recorder) notifyLocked() {
	close(r.more)
	r.more = make(chan struct{})
}

// Arrivals are all arrivals so far.
func (r *Recorder) Arrivals() []Arrival {
	arrivals, _ := r.snapshot()
	return arrivals
}

func (r *Recorder) snapshot() ([]Arrival, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrivals), r.more
}

// Wait waits until the arrivals fulfil a condition, and reports whether that happened
// before ctx is done.
func (r *Recorder) Wait(ctx context.Context, fulfils func([]Arrival) bool) bool {
	for {
		arrivals, more := r.snapshot()
		if fulfils(arrivals) {
			return true
		}
		select {
		case <-more:
		case <-ctx.Done():
			return false
		}
	}
}

// Retained is the retained message of a topic, as a new subscriber gets it.
func Retained(ctx context.Context, address, topic string) (string, error) {
	return RetainedAs(ctx, Login{Server: "tcp://" + address, ClientID: "rig-late"}, topic)
}

// RetainedAs is Retained for a broker with TLS or a password.
func RetainedAs(ctx context.Context, l Login, topic string) (string, error) {
	l.Clean = true
	late, err := RecordAs(l, topic)
	if err != nil {
		return "", err
	}
	defer late.Close()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kept := func(arrivals []Arrival) bool { return len(arrivals) > 0 && arrivals[0].Retained }
	if !late.Wait(ctx, kept) {
		return "", fmt.Errorf("nothing retained on %s", topic)
	}
	return late.Arrivals()[0].Payload, nil
}

const (
	timeout   = 10 * time.Second // with a broker on the same machine
	keepAlive = 10 * time.Second
)

func done(t mqtt.Token) error {
	if !t.WaitTimeout(timeout) {
		return errors.New("no answer from the broker")
	}
	return t.Error()
}
