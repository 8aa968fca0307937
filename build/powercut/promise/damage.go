package promise

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// Losses by damage must be declared: by a gap, and by an event about the damage. After the
// next start has declared them, no cut may remove the declaration before it is
// acknowledged.

// damageFact is the fact in an event about damage.
func damageFact(it queue.Item) (f Fact, ok bool) {
	switch {
	case it.Event == "gap":
		var g queue.Gap
		if json.Unmarshal([]byte(it.Details), &g) != nil || g.Why != queue.Damaged {
			return f, false
		}
		return Fact{Boot: g.Boot, Reading: sensors.Reading{Stream: g.Stream, Seq: g.From}, To: g.To}, true
	case it.Event == "quarantine", it.Event == "storage" && isAboutTheFile(it.Details):
		return Fact{Event: it.Event}, true
	}
	return f, false
}

func isAboutTheFile(details string) bool {
	return strings.Contains(details, `"state":"damaged"`) || strings.Contains(details, `"state":"other_client"`)
}

// carryDamage returns facts for the next ledger.
func carryDamage(items []queue.Item) (facts []Fact) {
	for _, it := range items {
		f, ok := damageFact(it)
		if !ok {
			continue
		}
		f.Kind = Declared
		if f.Event != "" {
			f.Kind = Happened
		}
		facts = append(facts, f)
	}
	return facts
}

// keys are the keys of the readings in a gap.
func (f Fact) keys() (keys []Key) {
	for seq := f.Reading.Seq; seq <= f.To && seq > 0; seq++ {
		keys = append(keys, Key{f.Boot, f.Reading.Stream, seq})
	}
	return keys
}

func (l *Ledger) declared(f Fact) {
	for _, k := range f.keys() {
		if l.entries[k] == nil {
			l.entries[k] = &entry{declared: true}
		}
	}
}

func (l *Ledger) eventAcked(f Fact) {
	delete(l.events, f.Event)
	for _, k := range f.keys() {
		if e := l.entries[k]; e != nil && e.declared {
			e.acked = true
		}
	}
}

// silent finds losses that were declared once and no longer are.
func (l *Ledger) silent(items []queue.Item, there map[Key]bool) (found []Violation) {
	inGap, events := map[Key]bool{}, map[string]bool{}
	for _, it := range items {
		f, ok := damageFact(it)
		if !ok {
			continue
		}
		events[f.Event] = true
		for _, k := range f.keys() {
			inGap[k] = true
		}
	}
	for name := range l.events {
		if !events[name] {
			found = append(found, Violation{Silent, "no event " + name})
		}
	}
	for k, e := range l.entries {
		if e.declared && !e.acked && !there[k] && !inGap[k] {
			found = append(found, Violation{Silent, fmt.Sprintf("%s: no gap says that damage has taken it", k)})
		}
	}
	return found
}

// hasEvent reports whether an event says that the file was damaged, or moved aside.
func hasEvent(items []queue.Item) bool {
	return slices.ContainsFunc(carryDamage(items), func(f Fact) bool { return f.Kind == Happened })
}

// Readings counts the readings among items.
func Readings(items []queue.Item) (n int) {
	for _, it := range items {
		if IsReading(it) {
			n++
		}
	}
	return n
}

// Undeclared finds readings that a queue had before it was damaged, that are missing
// afterwards and are in no gap, although later and earlier readings of the stream exist. If
// anything is missing, there must be an event.
func Undeclared(before, after []queue.Item) (found []Violation) {
	there, inGap := map[Key]bool{}, map[Key]bool{}
	first, last := map[stream]uint64{}, map[stream]uint64{}
	for _, it := range after {
		if f, ok := damageFact(it); ok {
			for _, k := range f.keys() {
				inGap[k] = true
			}
		}
		if !IsReading(it) {
			continue
		}
		s := stream{it.Boot, it.Stream}
		there[keyOf(it)] = true
		if first[s] == 0 || it.Seq < first[s] {
			first[s] = it.Seq
		}
		last[s] = max(last[s], it.Seq)
	}
	if len(there) < Readings(before) && !hasEvent(after) {
		found = append(found, Violation{Silent, "readings are missing, and no event says that the queue was damaged"})
	}
	for _, it := range before {
		s := stream{it.Boot, it.Stream}
		if IsReading(it) && !there[keyOf(it)] && !inGap[keyOf(it)] && first[s] < it.Seq && it.Seq < last[s] {
			found = append(found, Violation{Silent, fmt.Sprintf("%s: no gap says that damage has taken it", keyOf(it))})
		}
	}
	return found
}
