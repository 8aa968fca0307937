package sensors

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A schedule runs the turns of the samplers that have an interval. Between two turns a
// sampler has no goroutine and no timer: it is in a heap, and one timer fires for the turn
// that is due first.
//
// A worker runs the due turns one after another. Only one worker at a time does so: the
// leader. Before the leader blocks in a driver or on the disk, it hands the other due turns
// over to another worker, which becomes the leader. So a sampler never waits for what
// blocks another one, and a thousand samplers that return at once share one goroutine. A
// worker ends when nothing is due.
//
// A schedule is safe for concurrent use.
type schedule struct {
	pool *pool // runs the workers; does not change

	mu        sync.Mutex  // guards what follows
	waiting   dueHeap     // samplers whose turn is not due yet
	ready     []*paced    // samplers whose turn is due, oldest first, from index taken on
	taken     int         // how many of ready have got their turn
	hasLeader bool        // the leader looks at ready and waiting again before it ends
	timer     *time.Timer // calls onTimer when the first in waiting is due; nil: not needed so far
	order     int         // of the next sampler that is added
}

// paced is a sampler in a schedule.
type paced struct {
	sampler
	schedule *schedule
	parent   context.Context // of all its turns
	awaited  *call           // the last abandoned call: its return wakes the sampler

	// Guarded by the schedule's mu.
	due     time.Time          // of the next turn
	order   int                // in which the samplers were added; turns due at the same time keep it
	place   int                // index in waiting plus 1; 0: it is not there
	again   bool               // the sampler needs another turn right after the current one
	stopped bool               // the next turn is the last
	cancel  context.CancelFunc // ends the current turn; nil: there is none, or it is immediate
	over    bool               // the last turn has ended: any goroutine may read the sampler
	ended   chan struct{}      // closed when over is set; nil: nobody waits for it
}

// add gives a sampler turns, from its tick on, until it is stopped or parent is done. The
// caller has to call wakeEnded when parent is done.
func (s *schedule) add(p *paced) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.due, p.order = p.tick, s.order
	s.order++
	heap.Push(&s.waiting, p)
	s.dispatchLocked()
}

// configuredSpec returns the spec that the sensor was started with.
func (p *paced) configuredSpec() *Spec { return p.spec }

// stop ends the current turn of the sampler and gives it its last one at once. It does not
// wait.
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

// await waits until the sampler has ended; then the caller may read it.
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

// wakeEnded gives each waiting sampler whose context is done its last turn.
func (s *schedule) wakeEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Clone(s.waiting) {
		if p.parent.Err() != nil {
			s.wakeLocked(p)
		}
	}
}

// wakeLocked gives a sampler a turn at once, or another one after the current one. The
// caller holds mu.
func (s *schedule) wakeLocked(p *paced) {
	if p.place == 0 { // it is in ready, has its turn, or has ended
		p.again = true
		return
	}
	heap.Remove(&s.waiting, p.place-1)
	s.ready = append(s.ready, p)
	s.dispatchLocked()
}

// dispatchLocked starts a worker if something is due and there is no leader; if nothing is
// due it sets the timer. The caller holds mu.
func (s *schedule) dispatchLocked() {
	if w := s.newLeaderLocked(); w != nil {
		s.pool.run(func() func() { s.work(w); return nil })
	}
}

// newLeaderLocked returns a worker that has to be started. It returns nil if there is a
// leader, or if nothing is due; then it sets the timer. The caller holds mu.
func (s *schedule) newLeaderLocked() *worker {
	if s.hasLeader {
		return nil
	}
	if s.collectLocked(); s.taken < len(s.ready) {
		s.hasLeader = true
		return &worker{schedule: s, leads: true}
	}
	switch {
	case len(s.waiting) == 0:
	case s.timer == nil:
		s.timer = time.AfterFunc(time.Until(s.waiting[0].due), s.onTimer)
	default:
		s.timer.Reset(time.Until(s.waiting[0].due))
	}
	return nil
}

// onTimer is called by the timer on a new goroutine. It starts a worker of the pool, whose
// stack has grown already, instead of working itself.
func (s *schedule) onTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatchLocked()
}

// collectLocked moves the samplers that are due from waiting to ready. The caller holds mu.
func (s *schedule) collectLocked() {
	for now := time.Now(); len(s.waiting) > 0 && !s.waiting[0].due.After(now); {
		s.ready = append(s.ready, heap.Pop(&s.waiting).(*paced))
	}
}

// A worker runs turns on a goroutine of the pool. Only that goroutine uses it.
type worker struct {
	schedule *schedule
	leads    bool        // it is the leader of its schedule
	at       clock.Stamp // see now
	asked    time.Time   // when at was made
}

// work runs turns until nothing is due or another worker is the leader.
func (s *schedule) work(w *worker) {
	for p := s.take(w); p != nil; p = s.take(w) {
		ctx, cancel := s.begin(p)
		p.worker = w
		due, last := p.takeTurn(ctx)
		p.worker = nil
		cancel()
		s.finish(p, due, last)
	}
}

// take returns the sampler whose turn is next, and makes w the leader. It returns nil if w
// has to end: there is another leader, or nothing is due.
func (s *schedule) take(w *worker) *paced {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.leads && s.hasLeader {
		return nil
	}
	w.leads, s.hasLeader = true, true
	if s.collectLocked(); s.taken == len(s.ready) {
		w.leads, s.hasLeader = false, false
		s.dispatchLocked() // nothing is due: this sets the timer
		return nil
	}
	p := s.ready[s.taken]
	s.ready[s.taken] = nil
	s.taken++
	// Where sensors are due faster than they can be read, ready is never empty: its taken
	// part must not grow without limit.
	if 2*s.taken >= len(s.ready) {
		n := copy(s.ready, s.ready[s.taken:])
		clear(s.ready[n:])
		s.ready, s.taken = s.ready[:n], 0
	}
	return p
}

// begin returns the context of a turn. A turn of an immediate sensor needs no context of
// its own, because nothing in it blocks.
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

// takeTurn gives the sampler a turn, and returns when the next one is due. If ctx is done,
// it closes the sensor and last is true.
func (p *paced) takeTurn(ctx context.Context) (due time.Time, last bool) {
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
	p.announceWait(time.Until(due))
	return due, false
}

// wake gives the sampler a turn at once, or another one after the current one.
func (p *paced) wake() {
	p.schedule.mu.Lock()
	defer p.schedule.mu.Unlock()
	p.schedule.wakeLocked(p)
}

// finish puts a sampler back into the schedule after a turn. The worker then calls take,
// which runs the next turn or sets the timer.
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
	// If the context ended after the turn, wakeEnded may have run before this and missed it.
	if p.due = due; p.again || p.stopped || p.parent.Err() != nil {
		s.ready = append(s.ready, p)
	} else {
		heap.Push(&s.waiting, p)
	}
}

// handOver makes another worker the leader if something is due: this one may block now.
func (w *worker) handOver() {
	if !w.leads {
		return
	}
	s := w.schedule
	s.mu.Lock()
	defer s.mu.Unlock()
	w.leads, s.hasLeader = false, false
	s.dispatchLocked()
}

// now returns the current time with an error of at most a millisecond: samples that are
// measured together get the same stamp.
func (w *worker) now(keeper *clock.Timekeeper) clock.Stamp {
	if now := time.Now(); w.asked.IsZero() || now.Sub(w.asked) >= time.Millisecond {
		w.at, w.asked = keeper.Now(), now
	}
	return w.at
}

// A dueHeap has the sampler that is due first at its front; of those due at the same time,
// the one that was added first. It is a [heap.Interface].
type dueHeap []*paced

func (h dueHeap) Len() int { return len(h) }

// Less orders by the time of the next turn, then by the order of adding.
func (h dueHeap) Less(i, j int) bool {
	if c := h[i].due.Compare(h[j].due); c != 0 {
		return c < 0
	}
	return h[i].order < h[j].order
}

// Swap keeps the field place of both up to date.
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

// Pop removes and returns the last one.
func (h *dueHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h, p.place = old[:len(old)-1], 0
	return p
}
