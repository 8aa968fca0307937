package main

import (
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// seen has the times at which readings arrived at a subscriber.
type seen struct {
	client mqtt.Client

	mu    sync.Mutex
	first map[string]time.Time // first arrival of each agent, since the last forget
}

// subscribe records the readings of agents whose client IDs have a prefix.
func subscribe(addr, prefix string) (*seen, error) {
	s := &seen{first: map[string]time.Time{}}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("seen-" + prefix).
		SetConnectRetry(true).SetConnectRetryInterval(20 * time.Millisecond).
		SetMaxReconnectInterval(20 * time.Millisecond)
	o.SetOnConnectHandler(func(c mqtt.Client) {
		c.Subscribe("+/room", 0, func(_ mqtt.Client, m mqtt.Message) {
			if agent, _, _ := strings.Cut(m.Topic(), "/"); strings.HasPrefix(agent, prefix+"-") {
				s.note(agent)
			}
		})
	})
	s.client = mqtt.NewClient(o)
	t := s.client.Connect()
	t.Wait()
	return s, t.Error()
}

func (s *seen) note(agent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first[agent].IsZero() {
		s.first[agent] = time.Now()
	}
}

func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.first)
}

// after is the time from at to the first reading of each agent.
func (s *seen) after(at time.Time) (took []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, first := range s.first {
		took = append(took, first.Sub(at))
	}
	return took
}

func (s *seen) close() { s.client.Disconnect(100) }
