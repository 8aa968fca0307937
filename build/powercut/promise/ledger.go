// Package promise records what a program puts into a queue, and compares it with what comes
// out, by the promises of the queue.
package promise

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// A Kind is the kind of a fact.
type Kind uint8

const (
	Began      Kind = iota // Put was called
	Returned               // Put has returned
	Acked                  // Ack is about to be called
	Closed                 // Close has returned
	Kept                   // existed after the previous cut
	Declared               // was lost by damage, and a gap declared it after the previous cut
	Happened               // an event about damage existed after the previous cut
	EventAcked             // a gap or an event is about to be acknowledged
)

// A Fact is something that happened to a reading, or to the whole queue.
type Fact struct {
	Kind    Kind
	At      time.Duration // on the clock of the run
	Boot    string
	Reading sensors.Reading // Returned, Acked, Declared: only stream and number are set
	To      uint64          // Declared, EventAcked: the last number of a gap that begins with the reading's
	Event   string          // Happened, EventAcked
}

// Beginning is the fact that Put is about to be called for a reading.
func Beginning(boot string, r sensors.Reading) Fact {
	return Fact{Kind: Began, Boot: boot, Reading: r}
}

// End is the fact that this Put has returned.
func (f Fact) End() Fact { return about(Returned, f.Boot, f.Reading) }

// about is a fact that only identifies its reading.
func about(kind Kind, boot string, r sensors.Reading) Fact {
	return Fact{Kind: kind, Boot: boot, Reading: sensors.Reading{Stream: r.Stream, Seq: r.Seq}}
}

// A Key identifies a reading.
type Key struct {
	Boot, Stream string
	Seq          uint64
}

func (k Key) String() string { return fmt.Sprintf("%s %s %d", k.Boot, k.Stream, k.Seq) }

func (f Fact) key() Key { return Key{f.Boot, f.Reading.Stream, f.Reading.Seq} }

type entry struct {
	reading  sensors.Reading
	at       time.Duration // when Put returned
	began    int           // the number of the fact, in the order of Note
	returned int           // 0: not yet
	acked    bool
	durable  bool // existed when the queue was closed or cut
	declared bool // lost by damage: a gap must declare it
}

// A Ledger is the state that results from the facts.
type Ledger struct {
	entries    map[Key]*entry
	events     map[string]bool // that must exist, by name
	facts      int
	Impossible []Violation // facts that contradict each other
}

// Open returns an empty ledger.
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

// expected returns why a reading must exist, or "".
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

// Check compares what came out of the queue, in its order, with what must and may exist at
// a time. Routine readings may be lost for syncEvery. It does not change the ledger.
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

// Expected counts the readings that must exist.
func (l *Ledger) Expected(now, syncEvery time.Duration) (n int) {
	for _, e := range l.entries {
		if e.expected(now, syncEvery) != "" {
			n++
		}
	}
	return n
}

// checkItems checks each item, and the order in each lane: if the Put of one reading had
// returned before that of another started, it comes first. Items that were set aside are no
// longer in their lane.
func (l *Ledger) checkItems(items []queue.Item) (found []Violation) {
	seen := map[Key]bool{}
	var newest [2]*entry // of the items so far, by priority
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

// IsReading distinguishes a reading from an event of the queue itself, such as a gap, which
// has no stream. The queue is never full in these tests, so no gap can stand for a missing
// reading.
func IsReading(it queue.Item) bool { return it.Stream != "" }

// same compares everything that the disk must keep, and floats bit by bit.
func same(a, b sensors.Reading) bool {
	sameValue := math.Float64bits(a.Value) == math.Float64bits(b.Value)
	a.Value, b.Value = 0, 0
	return sameValue && a == b
}

// Carry returns facts for the next ledger: the items that came out were on disk.
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
