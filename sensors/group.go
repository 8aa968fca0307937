package sensors

import (
	"context"
	"reflect"
	"slices"
	"time"
)

// A Group runs a set of sensors, which can be replaced while it runs. Only one goroutine
// may call its methods.
type Group struct {
	to       shared
	schedule schedule
	running  []running
	aligned  bool // the clock's checks were aligned with the ticks of the first sensors
}

// running is a sampler that was started.
type running interface {
	stop()                 // asks it to end; does not wait
	await() *sampler       // waits until it has ended: then the caller may read the sampler
	configuredSpec() *Spec // does not change
}

// own is a sampler on a goroutine of its own.
type own struct {
	sampler
	cancel context.CancelFunc
	ended  chan struct{} // closed when run has returned
}

func (o *own) stop() { o.cancel() }

func (o *own) await() *sampler { <-o.ended; return &o.sampler }

func (o *own) configuredSpec() *Spec { return o.spec }

// NewGroup returns a group without sensors.
func NewGroup(to Wiring) *Group {
	g := &Group{}
	if to.Seqs == nil {
		to.Seqs = NewSeqs()
	}
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

// Change runs the sensors in specs, until ctx is done. A sensor whose spec has not changed
// is kept, with its device open. The others are stopped, and new ones start after all of
// them have ended, because a new sensor may use the device of an old one. The sequence
// numbers of a stream continue in every case: within a run of the agent no two readings of
// a stream have the same one.
//
// The caller must not change specs afterwards: the samplers keep them.
//
// between is called after the old sensors have ended and before the new ones start. kept
// are the sensors that did not change; they may record readings during the call.
func (g *Group) Change(ctx context.Context, specs []Spec, between func(kept []Spec)) {
	wanted, kept := map[string]*Spec{}, []Spec(nil)
	for i := range specs {
		wanted[specs[i].Name] = &specs[i]
	}
	var staying, leaving []running
	for _, r := range g.running {
		if spec := wanted[r.configuredSpec().Name]; spec != nil && reflect.DeepEqual(r.configuredSpec(), spec) {
			staying, kept = append(staying, r), append(kept, *spec)
			delete(wanted, spec.Name)
			continue
		}
		leaving = append(leaving, r)
		r.stop()
	}
	for _, r := range leaving {
		r.await().saveSeqs(g.to.Seqs)
		g.to.values.remove(r.configuredSpec())
	}
	g.running = slices.Clip(staying)
	between(kept)
	context.AfterFunc(ctx, g.schedule.wakeEnded)
	for _, spec := range wanted {
		if spec.Derived != nil {
			g.to.values.add(spec)
		}
	}
	now := time.Now() // one time for all: sensors with the same interval then share their wake-ups
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
		p.continueSeqs(g.to.Seqs)
		g.schedule.add(p)
		return p
	}
	ctx, stop := context.WithCancel(parent)
	o := &own{cancel: stop, ended: make(chan struct{})}
	o.init(spec, &g.to, now)
	o.continueSeqs(g.to.Seqs)
	go func() {
		defer close(o.ended)
		defer stop()
		o.run(ctx)
	}()
	return o
}

// Wait waits until every sensor has ended. It has to be called after the context of Change
// is done.
func (g *Group) Wait() {
	for _, r := range g.running {
		r.await()
	}
	g.to.pool.end()
}

// allStreams returns the streams of the sampler, including those of its alarms.
func (s *sampler) allStreams() (all []*stream) {
	for _, st := range s.streams {
		all = append(all, st)
		if st.alert != nil {
			all = append(all, st.alert)
		}
	}
	return all
}

// saveSeqs stores the last sequence number of each stream. The sampler must have ended.
func (s *sampler) saveSeqs(seqs *Seqs) {
	for _, st := range s.allStreams() {
		seqs.set(st.Name, st.seq)
	}
}

// continueSeqs continues the sequence numbers of an earlier sampler for the same streams.
// It has to be called before the sampler starts.
func (s *sampler) continueSeqs(seqs *Seqs) {
	for _, st := range s.allStreams() {
		st.seq = seqs.get(st.Name)
	}
}
