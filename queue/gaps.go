package queue

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
)

// A Gap declares lost readings: of the seqs From to To of a stream, Count will never
// arrive, and all others arrive or have arrived. It is delivered as an event.
type Gap struct {
	Stream string `json:"stream"`
	Boot   string `json:"boot"`
	From   uint64 `json:"from"` // seq of the first reading that is missing
	To     uint64 `json:"to"`   // seq of the last reading that is missing
	Count  uint64 `json:"count"`
	Why    string `json:"why"` // Dropped and so on
}

const gapEvent = "gap"

// Values of Gap.Why.
const (
	Dropped  = "dropped"  // evicted with their block to keep a limit, or purged
	Thinned  = "thinned"  // evicted one by one to keep a limit, see thin
	Damaged  = "damaged"  // lost by damage on disk
	Unproven = "unproven" // acknowledged by the broker, which does not forward the stream
)

// gaps are the gaps that are not acknowledged yet, in the order in which they are sent.
// No reading is counted in two of them. Queue.mu guards it, unless only one goroutine
// uses it.
type gaps struct {
	list    []*gap // issued gaps come first, in the order of their event's Seq
	dirty   bool   // the list has changed since the last commit that contained it
	missing uint64 // sum of Count of all gaps that were added; only grows
}

// A gap is an element of the list. Until it is issued, add may replace it by a larger one.
type gap struct {
	Gap
	issued *Item // its event, once Peek has returned that: then the gap must not change any more
}

// add adds a gap. It merges it with each gap that overlaps or adjoins it, has the same
// cause and is not issued yet. Gaps with seqs between them are not merged: those readings
// may wait, may have arrived, or may be in another gap.
func (g *gaps) add(more Gap) {
	if more.Count == 0 {
		return
	}
	g.dirty = true
	g.missing += more.Count
	at := len(g.list)
	// The issued gaps are at the front, so it goes backwards and stops there. The gap
	// grows with each merge and may then touch the next one.
	for i := at - 1; i >= 0 && g.list[i].issued == nil; i-- {
		if e := g.list[i]; e.Why == more.Why && e.touches(more, 1) {
			more.join(e.Gap)
			g.list = slices.Delete(g.list, i, i+1)
			at = i
		}
	}
	g.list = slices.Insert(g.list, at, &gap{Gap: more})
}

// Declare adds a gap for readings that were acknowledged, of whose loss the queue itself
// does not know.
func (q *Queue) Declare(g Gap) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gaps.add(g)
	signal(q.arrived)
	signal(q.work)
}

// merge adds a gap from the file, unless the list has one for the same readings. The one
// in the list is as new or newer, because gaps grow only there.
func (g *gaps) merge(stored Gap) {
	for _, e := range g.list {
		if e.Why == stored.Why && e.touches(stored, 0) {
			return
		}
	}
	g.add(stored)
}

// touches reports whether two gaps of a stream overlap or have fewer than distance seqs
// between them: with 0 they have to overlap, with 1 they may also adjoin.
func (g Gap) touches(o Gap, distance uint64) bool {
	return g.Stream == o.Stream && g.Boot == o.Boot && g.From <= o.To+distance && o.From <= g.To+distance
}

// join extends a gap by another one. No reading may be counted in both.
func (g *Gap) join(more Gap) {
	g.From, g.To = min(g.From, more.From), max(g.To, more.To)
	g.Count += more.Count
}

// peek appends the events of gaps whose Seq is above after to items, at most max. newEvent
// makes the event of a gap that is issued for the first time.
func (g *gaps) peek(items []Item, max int, after uint64, newEvent func(Gap) Item) []Item {
	for _, e := range g.list {
		if e.issued != nil && e.issued.Seq <= after {
			continue
		}
		if max--; max < 0 {
			break
		}
		if e.issued == nil {
			it := newEvent(e.Gap)
			e.issued = &it
		}
		items = append(items, *e.issued)
	}
	return items
}

// gapEventLocked makes the event that declares a gap.
func (b *backlog) gapEventLocked(g Gap) Item {
	it := b.eventLocked(b.opt.Clock.Now())
	it.Event, it.Details = gapEvent, g.details()
	b.counts.remember(it)
	return it
}

// details returns the JSON details of the gap's event.
func (g Gap) details() string {
	b, err := json.Marshal(g)
	if err != nil {
		panic(fmt.Sprint("queue: gap: ", err)) // strings and numbers always marshal
	}
	return string(b)
}

// ack removes the gap whose event has the Seq.
func (g *gaps) ack(seq uint64) {
	for i, e := range g.list {
		if e.issued != nil && e.issued.Seq == seq {
			g.list = append(g.list[:i:i], g.list[i+1:]...)
			g.dirty = true
			return
		}
	}
}

// values returns all gaps of the list, also the issued ones: the file keeps them until
// they are acknowledged. It never returns nil.
func (g *gaps) values() []Gap {
	list := []Gap{}
	for _, e := range g.list {
		list = append(list, e.Gap)
	}
	return list
}

// gapsOf returns the gaps that declare the readings of a run as dropped, merged with the
// gaps that the run has.
func gapsOf(r run) []Gap {
	var all gaps
	for _, g := range r.gaps { // first, because readings lie within them or adjoin them
		g.Why = Dropped
		all.add(g)
	}
	for i := range r.items {
		if it := &r.items[i]; it.Event == "" {
			all.add(it.lost(Dropped))
		}
	}
	return all.values()
}

// lost returns the gap of one reading.
func (it *Item) lost(why string) Gap {
	return Gap{Stream: it.Stream, Boot: it.Boot, From: it.Seq, To: it.Seq, Count: 1, Why: why}
}

// without returns the parts of a gap that are not within any gap of the lists. All seqs of
// g must be missing.
func (g Gap) without(lists ...[]Gap) (left []Gap) {
	declared := slices.DeleteFunc(slices.Concat(lists...), func(o Gap) bool { return !o.touches(g, 0) })
	sort.Slice(declared, func(i, j int) bool { return declared[i].From < declared[j].From })
	end := g.To
	declared = append(declared, Gap{From: end + 1, To: end + 1})
	for _, o := range declared {
		if g.From < o.From {
			g.To, g.Count = o.From-1, o.From-g.From
			left = append(left, g)
		}
		g.From = max(g.From, o.To+1)
	}
	return left
}

// holds reports whether the gap whose event has the Seq is not acknowledged yet.
func (g *gaps) holds(seq uint64) bool {
	return slices.ContainsFunc(g.list, func(e *gap) bool { return e.issued != nil && e.issued.Seq == seq })
}
