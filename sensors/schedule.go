package sensors

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A schedule gives paced samplers their turns. Between two turns a sampler has no
// goroutine and no timer: it waits among the others, and one timer is set to the turn
// that is due first.
//
// A worker takes those that are due, one after another. Before it waits for a driver
// that does not return at once, or for the disk, it hands the rest over to another
// worker. So a sampler never waits for what another one waits for, and a thousand of
// them that return at once share a goroutine. A worker ends when nothing is due.
//
// It may be used from any goroutine.
type schedule struct {
	pool *pool // whose goroutines the workers have; does not change

	mu      sync.Mutex
	waiting dueHeap     // for their turn
	ready   []*paced    // whose turn has come, in that order, from taken on
	taken   int         // so many of ready
	led     bool        // a worker leads: it looks at ready and waiting before it ends
	timer   *time.Timer // calls lead when the first in waiting is due; nil: it was never needed
	order   int         // of the next one that is added
}

// paced is a sampler in a schedule.
type paced struct {
	sampler
	schedule *schedule
	parent   context.Context // of all its turns
	awaited  *call           // the last call that hung: the schedule hears when it is back

	// The schedule's, under its mutex.
	due     time.Time          // of the next turn
	order   int                // in which samplers were added: also that of turns due together
	place   int                // in waiting, plus 1; 0: it is not there
	again   bool               // there is something to look at after the turn under way
	stopped bool               // the next turn is the last
	cancel  context.CancelFunc // ends the turn under way; nil: none is, or it needs no end
	over    bool               // it has ended, and may be read
	ended   chan struct{}      // closed then; nil: nobody waits for it
}

// add lets a sampler take turns, from its beat on, until it is stopped or parent is
// done; of the latter the schedule is told by wakeEnded.
func (s *schedule) add(p *paced) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.due, p.order = p.beat, s.order
	s.order++
	heap.Push(&s.waiting, p)
	s.attendLocked()
}

// configuredSpec returns the spec that the sensor was started with.
func (p *paced) configuredSpec() *Spec { return p.spec }

// stop makes the next turn of a sampler its last one, and that one begin at once. What
// it waits for in a turn under way ends.
func (p *paced) stop() {
	s := p.schedule
	s.mu.Lock()
	defer s.mu.Unlock()
	p.stopped = true
	if p.cancel != nil {
		p.cancel()
	}
	s.wakeLocked(p)
}

// await waits until the sampler has ended.
func (p *paced) await() *sampler {
	s := p.schedule
	s.mu.Lock()
	if p.ended == nil {
		p.ended = make(chan struct{})
		if p.over {
			close(p.ended)
		}
	}
	s.mu.Unlock()
	<-p.ended
	return &p.sampler
}

// wakeEnded gives those a last turn that wait and whose context is done.
func (s *schedule) wakeEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Clone(s.waiting) {
		if p.parent.Err() != nil {
			s.wakeLocked(p)
		}
	}
}

// wakeLocked gives a sampler a turn at once, or another one after the one under way.
func (s *schedule) wakeLocked(p *paced) {
	if p.place == 0 { // its turn has come, or it has ended
		p.again = true
		return
	}
	heap.Remove(&s.waiting, p.place-1)
	s.ready = append(s.ready, p)
	s.attendLocked()
}

// attendLocked sees to it that what is due gets a worker, now or when it is due.
func (s *schedule) attendLocked() {
	if w := s.leadLocked(); w != nil {
		s.pool.run(func() func() { s.work(w); return nil })
	}
}

// leadLocked returns the worker that is to work, nil if one leads or nothing is due.
// Then the timer is set.
func (s *schedule) leadLocked() *worker {
	if s.led {
		return nil
	}
	if s.collectLocked(); s.taken < len(s.ready) {
		s.led = true
		return &worker{schedule: s, leads: true}
	}
	switch {
	case len(s.waiting) == 0:
	case s.timer == nil:
		s.timer = time.AfterFunc(time.Until(s.waiting[0].due), s.lead)
	default:
		s.timer.Reset(time.Until(s.waiting[0].due))
	}
	return nil
}

// lead is called by the timer, on a goroutine with a small stack that ends at once.
func (s *schedule) lead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attendLocked()
}

// collectLocked moves those that are due to ready.
func (s *schedule) collectLocked() {
	for now := time.Now(); len(s.waiting) > 0 && !s.waiting[0].due.After(now); {
		s.ready = append(s.ready, heap.Pop(&s.waiting).(*paced))
	}
}

// A worker gives samplers their turns, on a goroutine that it has for itself meanwhile.
type worker struct {
	schedule *schedule
	leads    bool        // it is the one of its schedule that leads
	at       clock.Stamp // see now
	asked    time.Time   // when at was asked for
}

// work gives turns until nothing is due, or another worker leads.
func (s *schedule) work(w *worker) {
	for p := s.take(w); p != nil; p = s.take(w) {
		ctx, cancel := s.begin(p)
		p.worker = w
		due, last := p.attend(ctx)
		p.worker = nil
		cancel()
		s.finish(p, due, last)
	}
}

// take returns the sampler that is to have its turn next; nil if the worker is not
// needed any more.
func (s *schedule) take(w *worker) *paced {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.leads && s.led {
		return nil
	}
	w.leads, s.led = true, true
	if s.collectLocked(); s.taken == len(s.ready) {
		w.leads, s.led = false, false
		s.attendLocked() // for the timer: nothing is due
		return nil
	}
	p := s.ready[s.taken]
	s.ready[s.taken] = nil
	s.taken++
	// Where sensors are due faster than they can be read, there is always one left: the
	// front must not grow.
	if 2*s.taken >= len(s.ready) {
		n := copy(s.ready, s.ready[s.taken:])
		clear(s.ready[n:])
		s.ready, s.taken = s.ready[:n], 0
	}
	return p
}

// begin returns the context of a turn. A sensor that returns at once needs none of its
// own: nothing has to be ended.
func (s *schedule) begin(p *paced) (ctx context.Context, cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.again = false; !p.stopped && p.immediate {
		return p.parent, func() {}
	}
	ctx, p.cancel = context.WithCancel(p.parent)
	if p.stopped {
		p.cancel()
	}
	return ctx, p.cancel
}

// attend gives the sampler a turn, and its last one if ctx is done. It returns when the
// next one is due.
func (p *paced) attend(ctx context.Context) (due time.Time, last bool) {
	if !p.immediate {
		ctx = withNotices(ctx, p.notice)
	}
	if ctx.Err() == nil {
		due = p.step(ctx)
	}
	if ctx.Err() != nil {
		p.end(ctx)
		return due, true
	}
	if p.hung != nil && p.hung != p.awaited {
		p.awaited = p.hung
		p.hung.onReturn(p.wake)
	}
	p.promise(time.Until(due))
	return due, false
}

// wake gives the sampler a turn at once, or another one after the one under way.
func (p *paced) wake() {
	p.schedule.mu.Lock()
	defer p.schedule.mu.Unlock()
	p.schedule.wakeLocked(p)
}

// finish takes a sampler back after a turn. The worker takes the next one then, or sees to
// the timer.
func (s *schedule) finish(p *paced, due time.Time, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.cancel = nil
	if last {
		if p.over = true; p.ended != nil {
			close(p.ended)
		}
		return
	}
	// The end of the context may have come after the turn, and wakeEnded before this.
	if p.due = due; p.again || p.stopped || p.parent.Err() != nil {
		s.ready = append(s.ready, p)
	} else {
		heap.Push(&s.waiting, p)
	}
}

// handOver lets another worker lead: this one is about to wait.
func (w *worker) handOver() {
	if !w.leads {
		return
	}
	s := w.schedule
	s.mu.Lock()
	defer s.mu.Unlock()
	w.leads, s.led = false, false
	s.attendLocked()
}

// now is the time, to a millisecond: what was measured together has one stamp.
func (w *worker) now(keeper *clock.Timekeeper) clock.Stamp {
	if now := time.Now(); w.asked.IsZero() || now.Sub(w.asked) >= time.Millisecond {
		w.at, w.asked = keeper.Now(), now
	}
	return w.at
}

// A dueHeap has at its front what is due first, and of what is due together what was
// added first. It is a [heap.Interface].
type dueHeap []*paced

func (h dueHeap) Len() int { return len(h) }

// Less compares the times of two turns.
func (h dueHeap) Less(i, j int) bool {
	if c := h[i].due.Compare(h[j].due); c != 0 {
		return c < 0
	}
	return h[i].order < h[j].order
}

// Swap keeps each one's place.
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

// Push adds a *paced at the end.
func (h *dueHeap) Push(x any) {
	p := x.(*paced)
	*h = append(*h, p)
	p.place = len(*h)
}

// Pop removes the last one.
func (h *dueHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h, p.place = old[:len(old)-1], 0
	return p
}
