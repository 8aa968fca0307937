// Package promise remembers what a program put into a queue, and says whether
// what came back is what the queue promised.
package promise

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// A Kind says what happened.
type Kind uint8

const (
	Began      Kind = iota // Put was called
	Returned               // Put came back
	Acked                  // Ack is about to be called
	Closed                 // Close came back
	Kept                   // was there after the cut before
	Declared               // was lost to damage, and a gap said so after the cut before
	Happened               // an event about damage was there after the cut before
	EventAcked             // a gap or an event is about to be acknowledged
)

// A Fact is something that happened to a reading, or to the whole queue.
type Fact struct {
	Kind    Kind
	At      time.Duration // on the clock of the run
	Boot    string
	Reading sensors.Reading // Returned, Acked, Declared: stream and number are enough
	To      uint64          // Declared, EventAcked: the last number of a gap that begins with the reading's
	Event   string          // Happened, EventAcked
}

// Beginning is the fact that a reading is about to be put.
func Beginning(boot string, r sensors.Reading) Fact {
	return Fact{Kind: Began, Boot: boot, Reading: r}
}

// End is the fact that the Put has returned.
func (f Fact) End() Fact { return about(Returned, f.Boot, f.Reading) }

// about is a fact that only names its reading.
func about(kind Kind, boot string, r sensors.Reading) Fact {
	return Fact{Kind: kind, Boot: boot, Reading: sensors.Reading{Stream: r.Stream, Seq: r.Seq}}
}

// A Key names a reading for ever.
type Key struct {
	Boot, Stream string
	Seq          uint64
}

func (k Key) String() string { return fmt.Sprintf("%s %s %d", k.Boot, k.Stream, k.Seq) }

func (f Fact) key() Key { return Key{f.Boot, f.Reading.Stream, f.Reading.Seq} }

type entry struct {
	reading  sensors.Reading
	at       time.Duration // when Put returned
	began    int           // the place of the fact, in the order in which they were noted
	returned int           // 0: not yet
	acked    bool
	durable  bool // was there when the queue was closed or cut
	declared bool // lost to damage: a gap must say so
}

// A Ledger is what the facts add up to.
type Ledger struct {
	entries    map[Key]*entry
	events     map[string]bool // that must come, by name
	facts      int
	Impossible []Violation // what the facts themselves say that cannot be
}

// Open starts a ledger with nothing in it.
func Open() *Ledger { return &Ledger{entries: map[Key]*entry{}, events: map[string]bool{}} }

// Note adds a fact. Facts are noted in the order in which they happened.
func (l *Ledger) Note(f Fact) {
	l.facts++
	switch e := l.entries[f.key()]; {
	case f.Kind == Began:
		l.entries[f.key()] = &entry{reading: f.Reading, began: l.facts}
	case f.Kind == Kept:
		l.entries[f.key()] = &entry{reading: f.Reading, began: l.facts, returned: l.facts, durable: true}
	case f.Kind == Closed:
		l.closed()
	case f.Kind == Declared:
		l.declared(f)
	case f.Kind == Happened:
		l.events[f.Event] = true
	case f.Kind == EventAcked:
		l.eventAcked(f)
	case e == nil:
		l.Impossible = append(l.Impossible, Violation{Foreign, fmt.Sprintf("%s was taken and never put", f.key())})
	case f.Kind == Returned:
		e.returned, e.at = l.facts, f.At
	case f.Kind == Acked:
		e.acked = true
	}
}

func (l *Ledger) closed() {
	for _, e := range l.entries {
		if e.returned > 0 {
			e.durable = true
		}
	}
}

// expected says why a reading must be there, or "".
func (e *entry) expected(now, syncEvery time.Duration) string {
	switch {
	case e.returned == 0 || e.acked || e.declared:
		return ""
	case e.durable:
		return "was on disk before"
	case e.reading.Priority == sensors.Alarm:
		return "is an alarm whose Put had returned"
	case now-e.at > syncEvery:
		return fmt.Sprintf("is %s old", now-e.at)
	}
	return ""
}

// Check, which changes nothing, compares what came back from the queue, in its order, with what must
// and may be there at a time. Routine readings may be lost for syncEvery.
func (l *Ledger) Check(items []queue.Item, now, syncEvery time.Duration) []Violation {
	found := append(slices.Clone(l.Impossible), l.checkItems(items)...)
	there := make(map[Key]bool, len(items))
	newest := map[stream]int{}
	for _, it := range items {
		there[keyOf(it)] = true
		if e := l.entries[keyOf(it)]; e != nil {
			s := stream{it.Boot, it.Stream}
			newest[s] = max(newest[s], e.began)
		}
	}
	for k, e := range l.entries {
		if there[k] {
			continue
		}
		if e.declared {
			continue // see silent
		}
		if why := e.expected(now, syncEvery); why != "" {
			found = append(found, Violation{Lost, fmt.Sprintf("%s %s %s", e.reading.Priority, k, why)})
		} else if !e.acked && e.returned > 0 && e.returned < newest[stream{k.Boot, k.Stream}] {
			found = append(found, Violation{Hole, fmt.Sprintf("%s %s, and a later one of its stream is there",
				e.reading.Priority, k)})
		}
	}
	found = append(found, l.silent(items, there)...)
	slices.SortFunc(found, compare)
	return found
}

type stream struct{ boot, name string }

func keyOf(it queue.Item) Key { return Key{it.Boot, it.Stream, it.Seq} }

// Expected counts the readings that must be there.
func (l *Ledger) Expected(now, syncEvery time.Duration) (n int) {
	for _, e := range l.entries {
		if e.expected(now, syncEvery) != "" {
			n++
		}
	}
	return n
}

// checkItems looks at each item, and at the order in each lane: one whose Put
// had returned before that of another began comes before it. What was set aside
// has left its lane.
func (l *Ledger) checkItems(items []queue.Item) (found []Violation) {
	seen := map[Key]bool{}
	var newest [2]*entry // in what came so far, by priority
	for _, it := range items {
		if !IsReading(it) {
			continue
		}
		k, e := keyOf(it), l.entries[keyOf(it)]
		switch {
		case e == nil:
			found = append(found, Violation{Foreign, fmt.Sprintf("%s was never put: %+v", k, it.Reading)})
			continue
		case seen[k]:
			found = append(found, Violation{Twice, k.String()})
		case !e.declared && !same(e.reading, it.Reading):
			found = append(found, Violation{Altered, fmt.Sprintf("%s: got %+v, put %+v", k, it.Reading, e.reading)})
		}
		seen[k] = true
		if it.IsRejected() {
			continue
		}
		last := &newest[e.reading.Priority]
		if *last != nil && e.returned > 0 && e.returned < (*last).began {
			found = append(found, Violation{Order,
				fmt.Sprintf("%s came after %s %d", k, (*last).reading.Stream, (*last).reading.Seq)})
		}
		if *last == nil || (*last).began < e.began {
			*last = e
		}
	}
	return found
}

// IsReading tells a reading from an event of the queue's own, a gap for
// instance, which has no stream. Nothing here fills a queue, so that no event
// can make up for a reading.
func IsReading(it queue.Item) bool { return it.Stream != "" }

// same compares all that the disk must keep, a float bit by bit.
func same(a, b sensors.Reading) bool {
	sameValue := math.Float64bits(a.Value) == math.Float64bits(b.Value)
	a.Value, b.Value = 0, 0
	return sameValue && a == b
}

// Carry returns facts for the next ledger: what came back was on disk.
func Carry(items []queue.Item) []Fact {
	facts := make([]Fact, 0, len(items))
	for _, it := range items {
		if !IsReading(it) {
			continue
		}
		r := it.Reading
		facts = append(facts, Fact{Kind: Kept, Boot: it.Boot, Reading: r})
	}
	return append(facts, carryDamage(items)...)
}

// Taken returns the facts that items are about to be acknowledged.
func Taken(items []queue.Item) (facts []Fact) {
	for _, it := range items {
		if IsReading(it) {
			facts = append(facts, about(Acked, it.Boot, it.Reading))
		} else if f, ok := damageFact(it); ok {
			f.Kind = EventAcked
			facts = append(facts, f)
		}
	}
	return facts
}
