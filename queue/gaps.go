package queue

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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
// they go: those that were handed out are the first. No two tell of the same
// reading.
type gaps struct {
	list  []*gap
	dirty bool // the file does not know
}

type gap struct {
	Gap
	issued *Item // as handed out: it may not change any more
}

// add declares a loss. It becomes one with those that have the same cause, were
// not handed out, and that it meets or adjoins: what lies between two others
// waits, has arrived, or is told by a third.
func (g *gaps) add(more Gap) {
	if more.Count == 0 {
		return
	}
	g.dirty = true
	at := len(g.list)
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

// merge takes over a gap of the file's, unless the list tells of its readings:
// a gap grows only in the list.
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

func (g *Gap) join(more Gap) {
	g.From, g.To = min(g.From, more.From), max(g.To, more.To)
	g.Count += more.Count
}

// peek appends the gaps beyond an event's number as items, at most max. give
// numbers and stamps an event when it is handed out for the first time.
func (g *gaps) peek(items []Item, max int, after uint64, give func() Item) []Item {
	for _, e := range g.list {
		if e.issued != nil && e.issued.Seq <= after {
			continue
		}
		if max--; max < 0 {
			break
		}
		if e.issued == nil {
			it := give()
			it.Event, it.Details = gapEvent, e.details()
			e.issued = &it
		}
		items = append(items, *e.issued)
	}
	return items
}

// details is the gap as the event tells it.
func (g Gap) details() string {
	b, err := json.Marshal(g)
	if err != nil {
		panic(fmt.Sprint("queue: gap: ", err)) // strings and numbers always marshal
	}
	return string(b)
}

// ack takes out the gap that was handed out under a number.
func (g *gaps) ack(seq uint64) {
	for i, e := range g.list {
		if e.issued != nil && e.issued.Seq == seq {
			g.list = append(g.list[:i:i], g.list[i+1:]...)
			g.dirty = true
			return
		}
	}
}

// encodeGaps is what the file keeps of the gaps.
func encodeGaps(list []Gap) []byte {
	b, err := json.Marshal(list)
	if err != nil {
		panic(fmt.Sprint("queue: gaps: ", err)) // strings and numbers always marshal
	}
	return b
}

func decodeGaps(data []byte) (list []Gap, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &list)
	}
	return list, err
}

// values is the list without what was handed out.
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

// thinRun is how many readings of a stream keep their extremes together.
const thinRun = 16

// thin takes every second reading out of a run, but for the lowest and the
// highest of each sixteen of a stream, failures, states and events: what is
// left has the shape of what was there.
func thin(r run) run {
	keep := make([]bool, len(r.items))
	streams := map[streamKey][]int{}
	for i := range r.items {
		it := &r.items[i]
		if it.Err != "" || it.State != "" || it.Event != "" {
			keep[i] = true
			continue
		}
		k := streamKey{boot: it.Boot, stream: it.Stream}
		streams[k] = append(streams[k], i)
	}
	for _, places := range streams {
		for len(places) > 0 {
			n := min(thinRun, len(places))
			thinPlaces(r.items, places[:n], keep)
			places = places[n:]
		}
	}
	return keepOnly(r, keep)
}

func thinPlaces(items []Item, places []int, keep []bool) {
	low, high := places[0], places[0]
	for n, i := range places {
		if items[i].Value < items[low].Value {
			low = i
		}
		if items[i].Value > items[high].Value {
			high = i
		}
		keep[i] = n%2 == 0
	}
	keep[low], keep[high] = true, true
}

// lost declares the loss of a reading.
func (it *Item) lost(why string) Gap {
	return Gap{Stream: it.Stream, Boot: it.Boot, From: it.Seq, To: it.Seq, Count: 1, Why: why}
}

// keepOnly is a run with some of its readings, and the gaps that the others
// leave. A gap spans what is kept, but ends where the run has a hole already:
// another gap tells of that.
func keepOnly(r run, keep []bool) run {
	less := run{gaps: slices.Clone(r.gaps), thinned: true}
	last := seqs{}
	open := map[streamKey]int{} // place of the stream's gap, from one
	for i := range r.items {
		it := &r.items[i]
		k := streamKey{boot: it.Boot, stream: it.Stream}
		if it.Seq != last[k]+1 {
			open[k] = 0
		}
		last[k] = it.Seq
		switch g := open[k]; {
		case keep[i]:
			less.items = append(less.items, *it)
		case g > 0:
			less.gaps[g-1].join(it.lost(Thinned))
		default:
			less.gaps = append(less.gaps, it.lost(Thinned))
			open[k] = len(less.gaps)
		}
	}
	return less
}

// seqs are the last numbers that were seen of each stream of a lane, in the
// order of the lane.
type seqs map[streamKey]uint64

// observeRun takes note of the readings of a run.
func (s *seqs) observeRun(r run) {
	if *s == nil {
		*s = seqs{}
	}
	for i := range r.items {
		if it := &r.items[i]; it.Event == "" {
			(*s)[streamKey{boot: it.Boot, stream: it.Stream}] = it.Seq
		}
	}
}

// missing declares what damage has taken between the numbers seen and a run,
// less what is declared. What was missing before the first reading that was
// seen of a stream cannot be known.
func (s seqs) missing(r run, declared []Gap) (gaps []Gap) {
	seen := maps.Clone(s)
	for i := range r.items {
		it := &r.items[i]
		if it.Event != "" {
			continue
		}
		last, known := seen[streamKey{boot: it.Boot, stream: it.Stream}]
		if known && it.Seq > last+1 {
			hole := Gap{Stream: it.Stream, Boot: it.Boot, From: last + 1, To: it.Seq - 1, Why: Damaged}
			gaps = append(gaps, hole.without(r.gaps, declared)...)
		}
		if known {
			seen[streamKey{boot: it.Boot, stream: it.Stream}] = it.Seq
		}
	}
	return gaps
}

// set takes note of one reading.
func (s *seqs) set(boot, stream string, seq uint64) {
	if *s == nil {
		*s = seqs{}
	}
	(*s)[streamKey{boot: boot, stream: stream}] = seq
}

// declareDamageLocked declares what damaged blocks before a run have taken.
func (q *Queue) declareDamageLocked(l *lane, r run, damaged int) {
	if damaged > 0 {
		q.reportLocked("storage", q.opt.Clock.Now(), jsonObject("state", "damaged", "blocks", damaged))
	}
	if damaged > 0 || l.suspect {
		for _, g := range l.seqs.missing(r, q.gaps.values()) {
			q.gaps.add(g)
		}
	}
	l.seqs.observeRun(r)
}

// without is what is left of a hole, of which all numbers are missing, where no
// other gap tells of it.
func (g Gap) without(lists ...[]Gap) (left []Gap) {
	told := slices.DeleteFunc(slices.Concat(lists...), func(o Gap) bool { return !o.meets(g, 0) })
	slices.SortFunc(told, func(a, b Gap) int { return cmp.Compare(a.From, b.From) })
	end := g.To
	told = append(told, Gap{From: end + 1, To: end + 1})
	for _, o := range told {
		if g.From < o.From {
			g.To, g.Count = o.From-1, o.From-g.From
			left = append(left, g)
		}
		g.From = max(g.From, o.To+1)
	}
	return left
}

// jsonObject is an object of keys and values in turn.
func jsonObject(pairs ...any) string {
	o := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		o[pairs[i].(string)] = pairs[i+1]
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprint("queue: event: ", err)) // strings and numbers always marshal
	}
	return string(b)
}
