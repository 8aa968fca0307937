package sensors

import (
	"context"
	"reflect"
	"slices"
	"time"
)

// A Group is the sensors that run, and can be given other ones while it does. Its
// methods belong to one goroutine.
type Group struct {
	to       shared
	schedule schedule
	running  []running
	aligned  bool              // the looks at the clock have the beat of the first sensors
	seqs     map[string]uint64 // by stream: the last one of a sampler that has ended
}

// running is a sampler that takes turns.
type running interface {
	stop()
	await() *sampler // waits until it has ended: the sampler may be read then
	of() *Spec
}

// own is a sampler on a goroutine of its own.
type own struct {
	sampler
	cancel context.CancelFunc
	ended  chan struct{} // closed when run has returned
}

func (o *own) stop() { o.cancel() }

func (o *own) await() *sampler { <-o.ended; return &o.sampler }

func (o *own) of() *Spec { return o.spec }

// NewGroup returns a group without sensors.
func NewGroup(to Wiring) *Group {
	g := &Group{seqs: map[string]uint64{}}
	g.schedule.pool = &g.to.pool
	open, values := to.Open, newBoard(to.Clock)
	to.values = values
	to.Open = func(ctx context.Context, spec Spec) (Sensor, error) {
		if spec.Derived != nil {
			return values.open(spec), nil
		}
		return open(ctx, spec)
	}
	g.to.Wiring = to
	return g
}

// Change makes specs the sensors that run, until ctx is done. A sensor whose spec is
// the same as before goes on, with its device open. The others are stopped, and
// started when all of them have ended, because one may have the device that another
// had. The numbers of a stream go on in every case: no two readings of a start of the
// agent have the same one.
//
// The specs must not be changed afterwards: the samplers keep them.
//
// between is called when the old sensors have ended and before the new ones start.
// kept are those that go on: their readings come at the same time.
func (g *Group) Change(ctx context.Context, specs []Spec, between func(kept []Spec)) {
	wanted, kept := map[string]*Spec{}, []Spec(nil)
	for i := range specs {
		wanted[specs[i].Name] = &specs[i]
	}
	var staying, leaving []running
	for _, r := range g.running {
		if spec := wanted[r.of().Name]; spec != nil && reflect.DeepEqual(r.of(), spec) {
			staying, kept = append(staying, r), append(kept, *spec)
			delete(wanted, spec.Name)
			continue
		}
		leaving = append(leaving, r)
		r.stop()
	}
	for _, r := range leaving {
		r.await().saveSeqs(g.seqs)
		g.to.values.remove(r.of())
	}
	g.running = slices.Clip(staying)
	between(kept)
	context.AfterFunc(ctx, g.schedule.wakeEnded)
	for _, spec := range wanted {
		if spec.Derived != nil {
			g.to.values.add(spec)
		}
	}
	now := time.Now() // of all: sensors of one pace are due together, so that one wake-up serves them
	if !g.aligned {
		g.aligned = true
		g.to.Clock.Align(now)
	}
	for i := range specs {
		if spec := &specs[i]; wanted[spec.Name] == spec {
			g.running = append(g.running, g.start(ctx, spec, now))
		}
	}
}

// start starts a sensor that does not run.
func (g *Group) start(parent context.Context, spec *Spec, now time.Time) running {
	if spec.Every > 0 {
		p := &paced{schedule: &g.schedule, parent: parent}
		p.init(spec, &g.to, now)
		p.continueSeqs(g.seqs)
		g.schedule.add(p)
		return p
	}
	ctx, stop := context.WithCancel(parent)
	o := &own{cancel: stop, ended: make(chan struct{})}
	o.init(spec, &g.to, now)
	o.continueSeqs(g.seqs)
	go func() {
		defer close(o.ended)
		defer stop()
		o.run(ctx)
	}()
	return o
}

// Wait waits until every sensor has ended: the context of Change is done.
func (g *Group) Wait() {
	for _, r := range g.running {
		r.await()
	}
	g.to.pool.end()
}

// allStreams returns the streams of the sampler, those of its alarms among them.
func (s *sampler) allStreams() (all []*stream) {
	for _, st := range s.streams {
		all = append(all, st)
		if st.alert != nil {
			all = append(all, st.alert)
		}
	}
	return all
}

// saveSeqs notes the last number of each stream. The sampler has ended.
func (s *sampler) saveSeqs(seqs map[string]uint64) {
	for _, st := range s.allStreams() {
		seqs[st.Name] = st.seq
	}
}

// continueSeqs lets the numbers of each stream follow those of a sampler of before.
// The sampler does not run yet.
func (s *sampler) continueSeqs(seqs map[string]uint64) {
	for _, st := range s.allStreams() {
		st.seq = seqs[st.Name]
	}
}
