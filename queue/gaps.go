package queue

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
)

// A Gap is a declared loss: of the numbers from From to To of a stream, Count
// will never arrive, and all others have. It is delivered as an event.
type Gap struct {
	Stream string `json:"stream"`
	Boot   string `json:"boot"`
	From   uint64 `json:"from"` // seq of the first reading that is missing
	To     uint64 `json:"to"`   // seq of the last
	Count  uint64 `json:"count"`
	Why    string `json:"why"`
}

const gapEvent = "gap"

// Why readings are missing.
const (
	Dropped = "dropped" // to stay within the bounds
	Thinned = "thinned" // the same, less
	Damaged = "damaged" // on disk
	// Unproven: the broker acknowledged them and does not forward the stream.
	Unproven = "unproven"
)

// gaps are the declared losses that are not delivered yet, in the order in which
// they are sent: those that were issued come first. No reading is counted in two
// of them. It is used under Queue.mu, or by one goroutine alone.
type gaps struct {
	list    []*gap // those that were issued first, in the order of their event's Seq
	dirty   bool   // the list has changed since it was last put into a change that did not fail
	missing uint64 // readings in all that was added; only grows
}

// A gap is a Gap in the list. While it was not issued, add may replace it by a
// larger one.
type gap struct {
	Gap
	issued *Item // the event, once Peek has returned it: then the gap may not change any more
}

// add declares a loss. A gap that overlaps or adjoins it, has the same cause and
// was not issued yet is merged with it. Two gaps with numbers between them stay
// two: those numbers may wait, may have arrived, or may be in another gap.
func (g *gaps) add(more Gap) {
	if more.Count == 0 {
		return
	}
	g.dirty = true
	g.missing += more.Count
	at := len(g.list)
	// From the end: issued gaps come first, and a gap that grows by one merge may
	// meet another one.
	for i := at - 1; i >= 0 && g.list[i].issued == nil; i-- {
		if e := g.list[i]; e.Why == more.Why && e.meets(more, 1) {
			more.join(e.Gap)
			g.list = slices.Delete(g.list, i, i+1)
			at = i
		}
	}
	g.list = slices.Insert(g.list, at, &gap{Gap: more})
}

// Declare declares a loss that the queue cannot know of: of readings that were
// acknowledged.
func (q *Queue) Declare(g Gap) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gaps.add(g)
	signal(q.arrived)
	signal(q.work)
}

// merge adds a gap that the file has, unless one in the list counts the same
// readings: then that one is as new or newer, because gaps grow only in the list.
func (g *gaps) merge(there Gap) {
	for _, e := range g.list {
		if e.Why == there.Why && e.meets(there, 0) {
			return
		}
	}
	g.add(there)
}

// meets says that two gaps of a stream overlap; with a reach of 1, or adjoin.
func (g Gap) meets(o Gap, reach uint64) bool {
	return g.Stream == o.Stream && g.Boot == o.Boot && g.From <= o.To+reach && o.From <= g.To+reach
}

// join makes one gap of two that meet. No reading is counted in both.
func (g *Gap) join(more Gap) {
	g.From, g.To = min(g.From, more.From), max(g.To, more.To)
	g.Count += more.Count
}

// peek appends the gaps beyond an event's number as items, at most max. give
// makes the event of a gap that is issued for the first time.
func (g *gaps) peek(items []Item, max int, after uint64, give func(Gap) Item) []Item {
	for _, e := range g.list {
		if e.issued != nil && e.issued.Seq <= after {
			continue
		}
		if max--; max < 0 {
			break
		}
		if e.issued == nil {
			it := give(e.Gap)
			e.issued = &it
		}
		items = append(items, *e.issued)
	}
	return items
}

// gapEventLocked is the event that declares a gap.
func (b *backlog) gapEventLocked(g Gap) Item {
	it := b.eventLocked(b.opt.Clock.Now())
	it.Event, it.Details = gapEvent, g.details()
	b.counts.remember(it)
	return it
}

// details is the gap as the JSON of its event.
func (g Gap) details() string {
	b, err := json.Marshal(g)
	if err != nil {
		panic(fmt.Sprint("queue: gap: ", err)) // strings and numbers always marshal
	}
	return string(b)
}

// ack takes out the gap that was issued under a number.
func (g *gaps) ack(seq uint64) {
	for i, e := range g.list {
		if e.issued != nil && e.issued.Seq == seq {
			g.list = append(g.list[:i:i], g.list[i+1:]...)
			g.dirty = true
			return
		}
	}
}

// values are the gaps of the list, also those that were issued: the file keeps
// them until they are acknowledged. It is never nil.
func (g *gaps) values() []Gap {
	list := []Gap{}
	for _, e := range g.list {
		list = append(list, e.Gap)
	}
	return list
}

// gapsOf declares the loss of items, and of what was missing between them.
func gapsOf(r run) []Gap {
	var all gaps
	for _, g := range r.gaps { // first: readings lie in them, or adjoin
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

// lost declares the loss of a reading.
func (it *Item) lost(why string) Gap {
	return Gap{Stream: it.Stream, Boot: it.Boot, From: it.Seq, To: it.Seq, Count: 1, Why: why}
}

// without is what is left of a hole, of which all numbers are missing, where no
// other gap counts it.
func (g Gap) without(lists ...[]Gap) (left []Gap) {
	declared := slices.DeleteFunc(slices.Concat(lists...), func(o Gap) bool { return !o.meets(g, 0) })
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

// holds says that a gap that was issued under a number is not acknowledged.
func (g *gaps) holds(seq uint64) bool {
	return slices.ContainsFunc(g.list, func(e *gap) bool { return e.issued != nil && e.issued.Seq == seq })
}
