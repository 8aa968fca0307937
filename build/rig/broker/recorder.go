package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// An Arrival is one message that a subscriber got.
type Arrival struct {
	Topic    string
	Payload  string
	Retained bool // kept by the broker from before the subscription
	At       time.Time
}

// A Recorder is a subscriber that keeps all that arrives, in order. Its session
// is persistent and at QoS 1: what it does not have, the broker did not get.
type Recorder struct {
	client mqtt.Client

	mu       sync.Mutex
	arrivals []Arrival
	more     chan struct{} // closed and renewed with every arrival
}

// Record subscribes.
func Record(address, clientID, filter string) (*Recorder, error) {
	return record(address, clientID, filter, false)
}

func record(address, clientID, filter string, clean bool) (*Recorder, error) {
	r := &Recorder{more: make(chan struct{})}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID(clientID).SetCleanSession(clean)
	r.client = mqtt.NewClient(o)
	if err := done(r.client.Connect()); err != nil {
		return nil, fmt.Errorf("connect the recorder: %w", err)
	}
	if err := done(r.client.Subscribe(filter, 1, r.arrived)); err != nil {
		r.Close()
		return nil, fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	return r, nil
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
	close(r.more)
	r.more = make(chan struct{})
}

// Arrivals are all so far.
func (r *Recorder) Arrivals() []Arrival {
	arrivals, _ := r.sofar()
	return arrivals
}

func (r *Recorder) sofar() ([]Arrival, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrivals), r.more
}

// Wait waits until all that arrived fulfils a condition, and reports whether
// it does before ctx is done.
func (r *Recorder) Wait(ctx context.Context, fulfils func([]Arrival) bool) bool {
	for {
		arrivals, more := r.sofar()
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

// Retained is what a subscriber that comes now finds on a topic.
func Retained(ctx context.Context, address, topic string) (string, error) {
	late, err := record(address, "rig-late", topic, true)
	if err != nil {
		return "", err
	}
	defer late.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	kept := func(arrivals []Arrival) bool { return len(arrivals) > 0 && arrivals[0].Retained }
	if !late.Wait(ctx, kept) {
		return "", fmt.Errorf("nothing retained on %s", topic)
	}
	return late.Arrivals()[0].Payload, nil
}

const patience = 5 * time.Second // with a broker on the same machine

func done(t mqtt.Token) error {
	if !t.WaitTimeout(patience) {
		return errors.New("no answer from the broker")
	}
	return t.Error()
}
