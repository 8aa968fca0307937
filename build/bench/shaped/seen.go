package main

import (
	"encoding/json"
	"sort"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A result counts the readings at the subscriber.
type result struct {
	different int // readings that arrived
	disorder  int // first arrivals after a later reading of their stream
	twice     int // arrivals of readings that had arrived before
	when      []time.Time
}

// worst is the maximum of duplicates in one session.
func (v result) worst(sessions []time.Time) (worst int) {
	count := map[int]int{}
	for _, at := range v.when {
		session := sort.Search(len(sessions), func(i int) bool { return sessions[i].After(at) })
		count[session]++
		worst = max(worst, count[session])
	}
	return worst
}

// seen records the readings that a subscriber gets.
type seen struct {
	client mqtt.Client

	mu      sync.Mutex
	arrived map[string]map[uint64]bool // by topic
	newest  map[string]uint64
	so      result
}

func subscribe(addr string) (*seen, error) {
	s := &seen{arrived: map[string]map[uint64]bool{}, newest: map[string]uint64{}}
	s.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" +
		addr).SetClientID("recorder").SetAutoReconnect(false))
	for _, t := range []func() mqtt.Token{s.client.Connect, func() mqtt.Token {
		return s.client.Subscribe("+/+", 1, s.take)
	}} {
		if t := t(); t.Wait() && t.Error() != nil {
			return nil, t.Error()
		}
	}
	return s, nil
}

func (s *seen) take(_ mqtt.Client, m mqtt.Message) {
	var p struct{ Seq uint64 }
	json.Unmarshal(m.Payload(), &p)
	s.mu.Lock()
	defer s.mu.Unlock()
	topic := m.Topic()
	if s.arrived[topic] == nil {
		s.arrived[topic] = map[uint64]bool{}
	}
	if s.arrived[topic][p.Seq] {
		s.so.twice++
		s.so.when = append(s.so.when, time.Now())
		return
	}
	s.arrived[topic][p.Seq] = true
	s.so.different++
	if p.Seq < s.newest[topic] {
		s.so.disorder++
	}
	s.newest[topic] = max(s.newest[topic], p.Seq)
}

// result waits until no more readings arrive.
func (s *seen) result() result {
	for before := -1; ; time.Sleep(time.Second) {
		s.mu.Lock()
		v := s.so
		s.mu.Unlock()
		if v.different+v.twice == before {
			return v
		}
		before = v.different + v.twice
	}
}
