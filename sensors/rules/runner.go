package rules

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/sensors/serial"
)

// Wiring is what a runner is connected to.
type Wiring struct {
	// Do gets each order to an output. It is called under a lock, from any goroutine: it must
	// not block, and must not call the runner.
	Do func(outputs.Order)

	// Observe gets each change of the panel at once and must not block. Record gets it for the
	// history, and may wait for room in memory. Report gets events. Each is called by one
	// goroutine at a time, and no rule waits for it.
	Observe func(sensors.Reading)
	Record  func(sensors.Reading)
	Report  func(sensors.Event)

	Store *arming.Store
	Clock *clock.Timekeeper
	Log   *slog.Logger
	Seqs  *sensors.Seqs // nil: nobody else makes streams
}

// A Runner runs an [Engine] by the monotonic clock. Only one goroutine may call Run, and only
// one may call Change; the other methods may be called from any goroutine and do not block.
//
// No rule waits for the disk: one goroutine writes the state file, one hashes codes, and two
// pass on the readings of the panel.
type Runner struct {
	to     Wiring
	look   chan struct{}     // wakes runTimes: the next time may have changed; capacity 1
	orders chan arming.Order // whose codes have to be checked
	codes  chan string       // the path of the codes file, if it has to be read again; capacity 1
	saving saver

	observing, recording *serial.Executor

	mu     sync.Mutex // guards what follows; never held while anything is waited for
	engine *Engine
	panel  *arming.Panel // that of engine
	opt    arming.Options
	lock   arming.Lock
	at     clock.Stamp // of the last change of the panel; of an alarm, over restarts
	waits  time.Time   // the time that runTimes waits for; zero: none
}

// maxOrders is how many orders to the panel can wait: on a Pi Zero with many codes the check
// of one may take seconds.
const maxOrders = 8

// NewRunner returns a runner without rules.
func NewRunner(to Wiring) *Runner {
	if to.Seqs == nil {
		to.Seqs = sensors.NewSeqs()
	}
	r := &Runner{to: to, look: make(chan struct{}, 1), orders: make(chan arming.Order, maxOrders),
		codes: make(chan string, 1), observing: serial.New(), recording: serial.New()}
	r.saving = saver{store: to.Store, wake: make(chan struct{}, 1), tell: r.tellOfFile}
	r.engine = NewEngine(nil, nil, arming.Options{}, time.Now())
	return r
}

// Change sets other rules and another arming block; opt is nil if there is no block. The
// first call with a block reads the state file, and may wait for the disk. See
// [Engine.Change] for what is kept.
func (r *Runner) Change(rules []Rule, opt *arming.Options, known []sensors.Reading) {
	r.mu.Lock()
	panel, at := r.panel, r.at
	r.mu.Unlock()
	switch {
	case opt == nil:
		panel, opt = nil, &arming.Options{}
	case panel == nil:
		panel, at = r.restore(*opt)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if panel != r.panel {
		r.at = at
	}
	r.panel, r.opt = panel, *opt
	r.engine.Change(rules, panel, *opt, known, time.Now())
	r.deliver()
	replace(r.codes, opt.CodesFile)
}

// restore makes a panel of the state file, and returns when its alarm began, if the siren
// time goes on from there; else zero.
func (r *Runner) restore(opt arming.Options) (panel *arming.Panel, at clock.Stamp) {
	saved, err := r.to.Store.Load(opt.Modes[0])
	if err != nil {
		r.to.Log.Error("the state of the panel was damaged: it is armed", "state", saved.State, "err", err)
		r.report("arming_file", map[string]any{"state": "damaged", "error": err.Error(), "now": saved.State})
	}
	// Within one boot of the kernel the uptime tells the age, whatever the wall clock did.
	age, known := time.Duration(0), false
	if saved.At.Kernel != "" {
		age, known = r.to.Clock.Age(saved.At)
	}
	if known && saved.State == arming.Triggered {
		at = saved.At // over any number of restarts
	}
	return arming.NewPanel(opt, saved, time.Now(), age, known), at
}

// Observe takes a reading of any stream. The agent calls it before it writes the reading to
// disk or publishes it.
func (r *Runner) Observe(reading sensors.Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.engine.Knows(reading.Stream) { // most of them
		return
	}
	r.engine.Observe(time.Now(), reading)
	r.deliver()
}

// Order asks the panel for another state. The order's Answer is called after its code was
// checked.
func (r *Runner) Order(o arming.Order) {
	select {
	case r.orders <- o:
	default:
		answer(o, arming.Answer{Why: "busy: too many orders wait"})
	}
}

// Status returns the current state of the panel; ok is false if there is no panel.
func (r *Runner) Status() (s arming.Status, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok = r.engine.Status()
	s.Locked = r.lock.Until(time.Now())
	return s, ok
}

// endTimeout is how long Run waits for the disk at its end. Goroutines that wait longer end with
// the process.
const endTimeout = 2 * time.Second

// Run executes timers and orders until ctx is done. It then waits until all readings and events are
// recorded and the state file is written, for at most endTimeout.
func (r *Runner) Run(ctx context.Context) error {
	// Two groups: timers and orders end with ctx; the others end after they have passed on
	// everything that the first group produced.
	var timed, told sync.WaitGroup
	timed.Go(func() { r.runTimes(ctx) })
	timed.Go(func() { r.runOrders(ctx) })
	told.Go(r.observing.Run)
	told.Go(r.recording.Run)
	// An order whose code is being checked when ctx ends is still executed and answered, and its
	// state must be saved: so the saver ends after the first group.
	untilPut, allPut := context.WithCancel(context.WithoutCancel(ctx))
	defer allPut()
	told.Go(func() { r.saving.run(untilPut) })
	timed.Wait()
	allPut()
	ended := make(chan struct{})
	go func() {
		r.observing.Close() // first: what was observed is recorded, too
		r.recording.Close()
		told.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(endTimeout):
		r.to.Log.Error("the disk hangs: the last changes of the panel may not be saved")
	}
	return ctx.Err()
}

// runTimes advances the engine when a time of a rule or a delay of the panel is over.
func (r *Runner) runTimes(ctx context.Context) {
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		case <-r.look:
		}
		r.mu.Lock()
		r.engine.Advance(time.Now())
		r.deliver()
		next := r.engine.Next()
		r.waits = next
		r.mu.Unlock()
		if due.Stop(); !next.IsZero() {
			due.Reset(time.Until(next))
		}
	}
}

// deliver passes the engine's effects on. The caller holds mu, so that the orders to an
// output keep their sequence.
func (r *Runner) deliver() {
	// All orders come first, because the siren is urgent: publishing waits for other locks.
	effects := r.engine.Take()
	for _, e := range effects {
		if e.Order != nil {
			r.do(*e.Order)
		}
	}
	for _, f := range r.engine.TakeFired() {
		r.report("tripped", map[string]any{"rule": f.Rule, "streams": f.Streams})
	}
	changed := false
	for _, e := range effects {
		switch {
		case e.Change != nil:
			r.publish(*e.Change)
			changed = true
		case e.Refused != "":
			r.report("arming_refused", map[string]any{"by": "key", "why": e.Refused})
		case e.Gone != "":
			r.recording.Put(func() { // the log may hang, and the lock is held
				r.to.Log.Warn("a rule was due that is not configured any more: its actions do not run", "rule", e.Gone)
			})
		}
	}
	if changed {
		saved, _ := r.engine.Saved() // there is a panel: it has changed
		saved.At = r.at
		r.saving.put(saved)
	}
	// Only if it changed: runTimes calls deliver, too, and would wake itself for ever.
	if !r.engine.Next().Equal(r.waits) {
		notify(r.look)
	}
}

// do passes an order to its output, and reports an event if the output refuses it.
func (r *Runner) do(o outputs.Order) {
	o.Answer = func(a outputs.Answer) {
		if !a.Done {
			r.report("order_refused", map[string]any{"output": o.Output, "by": o.By, "why": a.Why})
		}
	}
	r.to.Do(o)
}

// publish records a change of the panel as a reading. The caller holds mu.
func (r *Runner) publish(c arming.Change) {
	now := r.to.Clock.Now()
	if c.By != "start" || r.at == (clock.Stamp{}) {
		r.at = now
	}
	reading := sensors.Reading{Stream: arming.StreamName, Seq: r.to.Seqs.Next(arming.StreamName), At: now,
		Value: arming.Value(c.State), State: c.State, Priority: sensors.Alarm,
		By: c.By, For: c.For.Truncate(time.Millisecond)}
	// In two steps: the link gets the current state at once, and a slow disk delays only the
	// history.
	r.observing.Put(func() {
		r.to.Observe(reading)
		if !r.recording.Put(func() { r.to.Record(reading) }) {
			r.to.Log.Error("a change of the panel is not in the history: the disk hangs", "seq", reading.Seq)
		}
	})
}

// report reports an event.
func (r *Runner) report(name string, details map[string]any) {
	e := sensors.NewEvent(name, details)
	e.At = r.to.Clock.Now()
	r.recording.Put(func() { r.to.Report(e) })
}

// tellOfFile reports once that the state file cannot be written, and once that it can be again.
func (r *Runner) tellOfFile(err error) {
	if err != nil {
		r.to.Log.Error("the state of the panel cannot be saved: a power cut would bring back an older one", "err", err)
		r.report("arming_file", map[string]any{"state": "unsaved", "error": err.Error()})
		return
	}
	r.to.Log.Info("the state of the panel is saved again")
	r.report("arming_file", map[string]any{"state": "saved"})
}

// runOrders checks the code of each order and does the order. It holds no lock while it
// computes the hashes, which takes long.
func (r *Runner) runOrders(ctx context.Context) {
	var codes arming.Codes
	for {
		select {
		case <-ctx.Done():
			r.refuseWaiting()
			return
		case path := <-r.codes:
			codes = r.readCodes(ctx, path)
		case o := <-r.orders:
			select { // codes that have just been changed count
			case path := <-r.codes:
				codes = r.readCodes(ctx, path)
			default:
			}
			// The codes may not have been read because the agent ends.
			if ctx.Err() != nil {
				answer(o, agentEnds)
				continue
			}
			answer(o, r.order(o, codes))
		}
	}
}

// agentEnds is the answer to an order that is too late.
var agentEnds = arming.Answer{Why: "stop: the agent ends"}

// refuseWaiting refuses the orders that still wait when the agent ends.
func (r *Runner) refuseWaiting() {
	for {
		select {
		case o := <-r.orders:
			answer(o, agentEnds)
		default:
			return
		}
	}
}

// readCodes reads the codes file, if there is one. Without a code that can be read none is
// accepted.
func (r *Runner) readCodes(ctx context.Context, path string) arming.Codes {
	if path == "" {
		return nil
	}
	codes, err := arming.ReadCodes(ctx, path)
	if err != nil && ctx.Err() == nil {
		r.to.Log.Error("no code is accepted: the codes file cannot be used", "err", err)
	}
	return codes
}

// order checks the code of an order and does the order. A code that was entered has to be
// right even if none is needed.
func (r *Runner) order(o arming.Order, codes arming.Codes) arming.Answer {
	r.mu.Lock()
	opt, locked := r.opt, r.lock.IsLocked(time.Now())
	r.mu.Unlock()
	if opt.CodesFile != "" && (o.To == arming.Disarmed || opt.CodeToArm || o.Code != "") {
		// The right code is refused too: another answer would reveal that it is right.
		if locked {
			return arming.Answer{Why: "locked"}
		}
		name := codes.Match(o.Code)
		if r.countAttempt(name != ""); name == "" {
			return arming.Answer{Why: "code"}
		}
		o.By = "code:" + name
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.engine.Order(time.Now(), o)
	r.deliver()
	return a
}

// countAttempt counts a right or wrong code, and reports an event if codes are now refused.
func (r *Runner) countAttempt(right bool) {
	r.mu.Lock()
	locks := r.lock.Count(time.Now(), right)
	r.mu.Unlock()
	if locks {
		r.to.Log.Warn("five wrong codes: none is accepted for a minute")
		r.report("code_lock", map[string]any{"for_s": int(arming.LockTime.Seconds())})
	}
}

// answer passes the result to the order's Answer, if it has one.
func answer(o arming.Order, a arming.Answer) {
	if o.Answer != nil {
		o.Answer(a)
	}
}

// notify puts a token into a channel of capacity 1, unless it has one. It does not block.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has one
	}
}

// replace puts a value into a channel of capacity 1, in place of one that nobody has
// received. Only one goroutine may send.
func replace[T any](c chan T, value T) {
	select {
	case <-c:
	default:
	}
	c <- value
}
