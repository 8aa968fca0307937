package main

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/page"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink"
)

// isSameBase reports whether next can be used without a new start: what the queue,
// the clock and the broker inside the agent are made of did not change.
func isSameBase(cfg, next config.Config) bool {
	// The file of the broker's password may be another: broker and link read it together.
	if own := next.Embedded; own != nil && (own.Password.File != "" || own.Password.Env != "") {
		return false
	}
	return reflect.DeepEqual(cfg.Queue, next.Queue) && cfg.Clock == next.Clock &&
		cfg.Uplink.ClientID == next.Uplink.ClientID && reflect.DeepEqual(cfg.Embedded, next.Embedded)
}

// reloadable is the part of the agent that a reload changes while the queue goes on:
// the sensors, the link, and the page with what it shows.
type reloadable struct {
	surroundings
	queue    *queue.Queue
	clock    *clock.Timekeeper
	progress func(time.Duration) // of each link, one after another
	reacts   *reactions

	cfg config.Config // as it was read. It belongs to the goroutine of run

	// mu guards the pointers, which change only in the goroutine of run: no reading
	// reaches an old link after its states were copied to a new one.
	mu   sync.RWMutex
	link *uplink.Link
	node *status.Collector
}

// newReloadable makes a link and a collector. run starts them.
func newReloadable(cfg config.Config, q *queue.Queue, clock *clock.Timekeeper, around surroundings) *reloadable {
	a := &reloadable{surroundings: around, queue: q, clock: clock, cfg: cfg, progress: around.manager.Loop("link")}
	a.reacts = newReactions(a)
	a.link = a.newLink()
	a.node = status.NewCollector(a.linkOptions(), q, a.link, a.reacts, cfg.Status != nil)
	return a
}

// linkOptions are those of the configuration, connected to the rest of the agent.
func (a *reloadable) linkOptions() uplink.Options {
	opt, q := a.cfg.Uplink, a.queue
	opt.Clock, opt.Boot, opt.Report, opt.Declare, opt.Stats = a.clock, q.Boot(), q.Report, q.Declare, q.Stats
	opt.Progress = a.progress
	opt.Problems, opt.AwaitNetwork = a.problems, a.awaitNetwork
	opt.Commands.Do, opt.Commands.Memory = a.reacts.do, a.reacts.memory
	return opt
}

// newLink returns a link that says when it connects and when it is lost. It does not run.
func (a *reloadable) newLink() (link *uplink.Link) {
	opt := a.linkOptions()
	opt.Changed = func() {
		a.manager.Changed()
		a.reacts.outputs.LinkChanged(link.Status().Connected)
	}
	link = uplink.New(opt, a.queue, uplink.DialMQTT(a.cfg.Uplink.Broker), a.log)
	return link
}

// run runs the sensors, the link and the page until ctx is done, and changes them at
// each reload. It is called once.
func (a *reloadable) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	group := sensors.NewGroup(sensors.Wiring{Open: a.open, Record: a.record, Report: a.queue.Report,
		Clock: a.clock, Log: a.log, Watch: a.watch})
	a.changeAll(ctx, group, a.cfg, func([]sensors.Stream) {})
	g.Go(func() error { return a.reacts.rules.Run(ctx) })
	linked := context.WithoutCancel(ctx) // the link ends last: it says what became of the outputs
	stopLink, stopPage := start(linked, g, a.link.Run), start(ctx, g, a.servePage)
	for {
		a.manager.Ready(a.inWords)
		select {
		case <-ctx.Done():
			ended := a.reacts.ended()
			waitFor(ended, safeTimeout)
			stopLink()
			<-ended
			group.Wait()
			return g.Wait()
		case next := <-a.reloads:
			stopPage() // it reads its token and its certificate again
			old := a.link
			a.changeAll(ctx, group, next, func(kept []sensors.Stream) { a.change(next, kept) })
			if a.link != old {
				stopLink() // first: the broker ends the older one of two connections
				stopLink = start(linked, g, a.link.Run)
			}
			stopPage = start(ctx, g, a.servePage)
		}
	}
}

// start runs a part of the agent in g until ctx is done or stop is called, which
// returns when the part has ended.
func start(ctx context.Context, g *errgroup.Group, part func(context.Context) error) (stop func()) {
	running, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		err := part(running)
		if running.Err() != nil {
			err = ctx.Err() // nil after stop: the agent goes on
		}
		return err
	})
	return func() { end(); <-ended }
}

// changeAll makes those of next the sensors, outputs and rules that run. Outputs begin before
// rules, and rules before sensors: what a sensor says first may concern them. between is
// called when the old ones have ended and before the new ones start, with the streams of
// those that go on.
func (a *reloadable) changeAll(
	ctx context.Context, group *sensors.Group, next config.Config, between func(kept []sensors.Stream),
) {
	group.Change(ctx, next.Sensors, func(kept []sensors.Spec) {
		var known []sensors.Reading
		a.reacts.change(ctx, next, func(streams []sensors.Stream) {
			for _, spec := range kept {
				streams = append(streams, spec.AllStreams()...)
			}
			between(streams)
			known = a.statesOf(streams)
		})
		a.reacts.changeRules(next, known)
	})
}

// statesOf are the latest readings of streams. It belongs to the goroutine of run.
func (a *reloadable) statesOf(streams []sensors.Stream) (known []sensors.Reading) {
	for _, r := range a.link.States() {
		if slices.ContainsFunc(streams, func(st sensors.Stream) bool { return st.Name == r.Stream }) {
			known = append(known, r)
		}
	}
	return known
}

// change makes next the configuration. The link stays if nothing of it changed, unless
// it is not connected: a person who reloads may have mended what kept it away. A new
// link knows the states of the streams that go on.
func (a *reloadable) change(next config.Config, kept []sensors.Stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.cfg
	a.cfg = next
	old := a.link
	if !reflect.DeepEqual(before.Uplink, next.Uplink) || !old.Status().Connected {
		a.link = a.newLink()
		copyStates(a.link, old, kept)
	}
	if a.link != old || (before.Status == nil) != (next.Status == nil) {
		a.node = a.node.Follow(a.linkOptions(), a.link, next.Status != nil)
	}
}

// copyStates gives one link the latest readings of streams that another has.
func copyStates(to, from *uplink.Link, of []sensors.Stream) {
	wanted := map[string]bool{}
	for _, st := range of {
		wanted[st.Name] = true
	}
	for _, r := range from.States() {
		if wanted[r.Stream] {
			to.Observe(r)
		}
	}
}

// record takes each reading of a sensor. It is called from many goroutines.
func (a *reloadable) record(r sensors.Reading) {
	a.observe(r)
	a.queue.Add(r) // what happened; not under the lock: it may wait for room in memory
}

// observe takes each reading in memory alone, what reacts to it first. It is called from
// many goroutines.
func (a *reloadable) observe(r sensors.Reading) {
	a.reacts.observe(r)
	a.mu.RLock()
	defer a.mu.RUnlock()
	a.node.Observe(r)
	a.link.Observe(r) // what is true now
}

// observeOutput is observe for readings of outputs.
func (a *reloadable) observeOutput(r sensors.Reading) {
	if a.changed != nil {
		a.changed(r)
	}
	a.observe(r)
}

// snapshot is what `holdfast status` shows. It may be called from any goroutine.
func (a *reloadable) snapshot() status.Snapshot {
	a.mu.RLock()
	node := a.node
	a.mu.RUnlock()
	return node.Snapshot(true)
}

// isOnline reports whether the link has a connection. It may be called from any goroutine.
func (a *reloadable) isOnline() bool {
	a.mu.RLock()
	link := a.link
	a.mu.RUnlock()
	return link.Status().Connected
}

// inWords is what `systemctl status` shows. It may be called from any goroutine.
func (a *reloadable) inWords() string {
	a.mu.RLock()
	link := a.link
	a.mu.RUnlock()
	return inWords(link.Status(), a.queue.Stats())
}

// servePage serves the status page, if there is one.
func (a *reloadable) servePage(ctx context.Context) error {
	if a.cfg.Status == nil {
		return nil
	}
	return page.Serve(ctx, a.cfg.Status, a.node, a.log)
}

// watch has the watchdog look at the loop of a sensor.
func (a *reloadable) watch(sensor string) (progress func(within time.Duration)) {
	return a.manager.Loop("sensor " + sensor)
}
