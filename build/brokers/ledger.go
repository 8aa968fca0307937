package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// A reading has the fields of a payload.
type reading struct {
	TS         int64    `json:"ts"`
	Boot       string   `json:"boot"`
	Seq        uint64   `json:"seq"`
	Value      *float64 `json:"value"`
	Historical bool     `json:"historical"`
	Event      string   `json:"event"`

	at time.Time // of the arrival
}

// A recorder has all arrivals so far, in order; *broker.Recorder is one.
type recorder interface{ Arrivals() []broker.Arrival }

// A ledger has the recorder's arrivals by topic.
type ledger struct {
	rec recorder

	mu       sync.Mutex
	read     int // number of arrivals that were processed
	readings map[string][]reading
	last     map[string]string // payloads
}

func newLedger(rec recorder) *ledger {
	return &ledger{rec: rec, readings: map[string][]reading{}, last: map[string]string{}}
}

func (l *ledger) updateLocked() {
	arrivals := l.rec.Arrivals()
	for _, a := range arrivals[l.read:] {
		r := reading{at: a.At}
		json.Unmarshal([]byte(a.Payload), &r) // the status is not JSON
		l.readings[a.Topic] = append(l.readings[a.Topic], r)
		l.last[a.Topic] = a.Payload
	}
	l.read = len(arrivals)
}

// on returns what arrived on a topic, in order.
func (l *ledger) on(topic string) []reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.updateLocked()
	return l.readings[topic]
}

// payload is the last payload of a topic.
func (l *ledger) payload(topic string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.updateLocked()
	return l.last[topic]
}

// live reports whether readings after a time arrive without delay.
func (l *ledger) live(topic string, since time.Time) bool {
	all := l.on(topic)
	if len(all) == 0 {
		return false
	}
	last := all[len(all)-1]
	taken := time.UnixMilli(last.TS)
	return taken.After(since) && last.at.Sub(taken) < 2*time.Second && time.Since(last.at) < 2*time.Second
}

// A tally counts the readings of one agent.
type tally struct {
	first, twice int          // arrivals
	lost         map[key]bool // missing numbers below one that arrived
	disorder     []string     // first arrivals after a higher number
	boots        map[string]bool
}

// streams are the streams of the suite's agents.
var streams = []string{"load", "gate"}

// count processes everything that arrived from an agent. Some readings may be delivered
// twice; the first arrivals of each stream and start of the agent have to be in order.
func (l *ledger) count(clientID string) tally {
	t := tally{lost: map[key]bool{}, boots: map[string]bool{}}
	for _, stream := range streams {
		topic := clientID + "/" + stream
		seen, last := map[key]bool{}, map[string]uint64{}
		for _, r := range l.on(topic) {
			k := key{topic, r.Boot, r.Seq}
			switch {
			case seen[k]:
				t.twice++
				continue
			case r.Seq < last[r.Boot]:
				t.disorder = append(t.disorder, fmt.Sprintf("%s %s: %d first arrives after %d", topic, r.Boot, r.Seq,
					last[r.Boot]))
			}
			seen[k], t.boots[r.Boot] = true, true
			t.first++
			last[r.Boot] = max(last[r.Boot], r.Seq)
		}
		for boot, n := range last {
			for seq := uint64(1); seq < n; seq++ {
				if k := (key{topic, boot, seq}); !seen[k] {
					t.lost[k] = true
				}
			}
		}
	}
	return t
}

// wrong returns an error for faults of holdfast: missing readings that no broker has
// acknowledged, and readings out of order.
func (t tally) wrong(acked func(key) bool) error {
	var said []string
	for _, k := range slices.SortedFunc(maps.Keys(t.lost), key.compare) {
		if !acked(k) {
			said = append(said, fmt.Sprintf("%s %s: %d never arrived", k.topic, k.boot, k.seq))
		}
	}
	if said = append(said, t.disorder...); len(said) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d readings: %s", len(said), t.first+len(t.lost),
		strings.Join(said[:min(5, len(said))], "; "))
}
