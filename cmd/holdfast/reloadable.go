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

// isSameBase reports whether next can be used without a restart: the settings of the
// queue, the clock, the client identifier and the embedded broker are the same.
func isSameBase(cfg, next config.Config) bool {
	// The content of the password file may have changed: the embedded broker and the link
	// have to read it together.
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
	progress func(time.Duration) // tells the watchdog that the current link makes progress
	reacts   *reactions
	seqs     *sensors.Seqs // of all streams, through every reload

	cfg config.Config // as it was read; only the goroutine of run uses it

	// mu guards the pointers link and node. Only the goroutine of run changes them, so it
	// reads them without mu. Readers hold mu while they use link: no reading reaches an old
	// link after its states were copied to the new one.
	mu   sync.RWMutex
	link *uplink.Link
	node *status.Collector
}

// newReloadable makes a link and a collector; run starts them.
func newReloadable(cfg config.Config, q *queue.Queue, clock *clock.Timekeeper, around surroundings) *reloadable {
	a := &reloadable{surroundings: around, queue: q, clock: clock, cfg: cfg, progress: around.manager.Loop("link"),
		seqs: sensors.NewSeqs()}
	a.reacts = newReactions(a)
	a.link = a.newLink()
	a.node = status.NewCollector(a.linkOptions(), q, a.link, a.reacts, cfg.Status != nil)
	return a
}

// linkOptions returns the link's options of the configuration, connected to the rest of
// the agent.
func (a *reloadable) linkOptions() uplink.Options {
	opt, q := a.cfg.Uplink, a.queue
	opt.Clock, opt.Boot, opt.Report, opt.Declare, opt.Stats = a.clock, q.Boot(), q.Report, q.Declare, q.Stats
	opt.Progress = a.progress
	opt.Problems, opt.AwaitNetwork = a.problems, a.awaitNetwork
	opt.Commands.Do, opt.Commands.Memory = a.reacts.do, a.reacts.memory
	return opt
}

// newLink returns a link that does not run yet. It tells systemd and the outputs whenever
// its connection begins or ends.
func (a *reloadable) newLink() (link *uplink.Link) {
	opt := a.linkOptions()
	opt.Changed = func() {
		a.manager.Changed()
		a.reacts.outputs.LinkChanged(link.Status().Connected)
	}
	link = uplink.New(opt, a.queue, uplink.DialMQTT(a.cfg.Uplink.Broker), a.log)
	return link
}

// run runs the sensors, the link and the page until ctx is done, and replaces what a
// reload changes. It is called once.
func (a *reloadable) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	group := sensors.NewGroup(sensors.Wiring{Open: a.open, Record: a.record, Report: a.queue.Report,
		Clock: a.clock, Log: a.log, Seqs: a.seqs, Watch: a.watch})
	a.changeAll(ctx, group, a.cfg, func([]sensors.Stream) {})
	g.Go(func() error { return a.reacts.rules.Run(ctx) })
	linked := context.WithoutCancel(ctx) // the link ends last: it publishes the last states of the outputs
	stopLink, stopPage := start(linked, g, a.link.Run), start(ctx, g, a.servePage)
	for {
		a.manager.Ready(a.statusLine)
		select {
		case <-ctx.Done():
			ended := a.reacts.ended()
			waitFor(ended, safeTimeout)
			stopLink()
			<-ended
			group.Wait()
			return g.Wait()
		case next := <-a.reloads:
			stopPage() // always: the new page reads its token and its certificate again
			old := a.link
			a.changeAll(ctx, group, next, func(kept []sensors.Stream) { a.change(next, kept) })
			if a.link != old {
				stopLink() // before the new link starts: a broker allows one connection for a client identifier
				stopLink = start(linked, g, a.link.Run)
			}
			stopPage = start(ctx, g, a.servePage)
		}
	}
}

// start runs a part of the agent in g until ctx is done or stop is called. stop returns
// when the part has ended, and its end is then no error of g.
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

// changeAll replaces the sensors, outputs and rules by those of next. Outputs start before
// rules, and rules before sensors, because the first reading of a sensor may concern them.
// between is called after the old sensors have ended and before the new ones start; kept
// are the streams of the sensors and outputs that did not change.
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

// statesOf returns the latest reading of each of the streams that has one. Only the
// goroutine of run may call it.
func (a *reloadable) statesOf(streams []sensors.Stream) (known []sensors.Reading) {
	for _, r := range a.link.States() {
		if slices.ContainsFunc(streams, func(st sensors.Stream) bool { return st.Name == r.Stream }) {
			known = append(known, r)
		}
	}
	return known
}

// change makes next the configuration. It keeps the link if the link's options are the
// same and it is connected; without a connection a new link tries at once, because a person
// who reloads may have repaired the network. A new link gets the states of the streams in
// kept.
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

// copyStates passes the latest readings of some streams from one link to another.
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

// record takes each reading of a sensor: into memory, then into the queue. It may be called
// from any goroutine, and may wait until the queue has room in memory.
func (a *reloadable) record(r sensors.Reading) {
	a.observe(r)
	a.queue.Add(r) // the history; without mu, because it may wait
}

// observe passes a reading on in memory: first to the rules and outputs, which react to
// it, then to the page and the link. It may be called from any goroutine and does not wait.
func (a *reloadable) observe(r sensors.Reading) {
	a.reacts.observe(r)
	a.mu.RLock()
	defer a.mu.RUnlock()
	a.node.Observe(r)
	a.link.Observe(r) // the current state, as opposed to the history
}

// observeOutput is observe for readings of outputs.
func (a *reloadable) observeOutput(r sensors.Reading) {
	if a.changed != nil {
		a.changed(r)
	}
	a.observe(r)
}

// snapshot returns what `holdfast status` shows. It may be called from any goroutine.
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

// statusLine returns the line that `systemctl status` shows. It may be called from any
// goroutine.
func (a *reloadable) statusLine() string {
	a.mu.RLock()
	link := a.link
	a.mu.RUnlock()
	return statusLine(link.Status(), a.queue.Stats())
}

// servePage serves the status page, if there is one.
func (a *reloadable) servePage(ctx context.Context) error {
	if a.cfg.Status == nil {
		return nil
	}
	return page.Serve(ctx, a.cfg.Status, a.node, a.log)
}

// watch registers the loop of a sensor with the watchdog. The loop has to call progress
// again within the time that it passes; 0: it is not watched until its next call.
func (a *reloadable) watch(sensor string) (progress func(within time.Duration)) {
	return a.manager.Loop("sensor " + sensor)
}
