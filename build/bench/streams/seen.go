package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// seen records the readings of each stream at a subscriber.
type seen struct {
	client mqtt.Client

	mu          sync.Mutex
	streams     map[string]*arrived
	historical  int       // readings that were sent late
	first, last time.Time // arrival of the first and the last of these
	bad         error     // the first message that cannot be parsed
}

// arrived has the readings of one stream. Sequence numbers start at 1.
type arrived struct {
	seqs   map[uint64]bool
	newest uint64
	twice  int
	last   time.Time // when one arrived
}

// subscribe records all readings.
func subscribe(addr string) (*seen, error) {
	s := &seen{streams: map[string]*arrived{}}
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("seen").SetCleanSession(false).
		SetOrderMatters(true)
	s.client = mqtt.NewClient(o)
	if t := s.client.Connect(); t.Wait() && t.Error() != nil {
		return nil, t.Error()
	}
	t := s.client.Subscribe(clientID+"/+", 1, func(_ mqtt.Client, m mqtt.Message) { s.note(m) })
	t.Wait()
	return s, t.Error()
}

// note records one reading.
func (s *seen) note(m mqtt.Message) {
	var r struct {
		Seq        uint64
		Historical bool
	}
	err := json.Unmarshal(m.Payload(), &r)
	_, name, _ := strings.Cut(m.Topic(), "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.bad == nil {
		s.bad = fmt.Errorf("%s: %q: %w", m.Topic(), m.Payload(), err)
	}
	a := s.streams[name]
	if a == nil {
		a = &arrived{seqs: map[uint64]bool{}}
		s.streams[name] = a
	}
	if a.seqs[r.Seq] {
		a.twice++
	}
	a.seqs[r.Seq], a.newest, a.last = true, max(a.newest, r.Seq), time.Now()
	if r.Historical {
		s.historical++
		s.last = time.Now()
		if s.first.IsZero() {
			s.first = s.last
		}
	}
}

// maxLate is the maximum age of the newest reading of a stream, on a busy machine.
const maxLate = 5 * time.Second

// all counts what has arrived, and the rate of late readings. It is an error if a stream
// has a gap, or if its readings have ended.
func (s *seen) all(l load, t times) (count, twice int, drained float64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad != nil {
		return 0, 0, 0, s.bad
	}
	if len(s.streams) != l.streams {
		return 0, 0, 0, fmt.Errorf("readings of %d streams arrived, of %d", len(s.streams), l.streams)
	}
	for name, a := range s.streams {
		if uint64(len(a.seqs)) != a.newest {
			return 0, 0, 0, fmt.Errorf("%s: %d readings arrived, and the newest is number %d", name, len(a.seqs), a.newest)
		}
		// A stream that has lost its newest readings has no gap. The expected number is unknown,
		// because a fast sensor skips ticks on a busy machine.
		if late := time.Since(a.last); late > 2*l.every+maxLate {
			return 0, 0, 0, fmt.Errorf("%s: the newest of %d readings is %v old", name, len(a.seqs), late)
		}
		count, twice = count+len(a.seqs), twice+a.twice
	}
	if s.historical == 0 || time.Since(s.last) < time.Second {
		return 0, 0, 0, fmt.Errorf("%v after the outage the backlog is not sent: %d readings arrived", t.after, count)
	}
	return count, twice, float64(s.historical) / s.last.Sub(s.first).Seconds(), nil
}

func (s *seen) close() { s.client.Disconnect(100) }
