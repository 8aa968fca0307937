package rules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// A node is a runner and all its output.
type node struct {
	*Runner
	t    *testing.T
	dir  string
	stop func()
	end  func() // stops the runner without waiting

	mu     sync.Mutex
	orders []outputs.Order
	events []string
	log    strings.Builder
	block  chan struct{} // Record waits for it; nil: it does not
	hangs  chan struct{} // the log waits for it; nil: it does not
	refuse string        // why outputs refuse orders; empty: they accept them
	keeps  []sensors.Reading
	onDo   func(outputs.Order) // called with each order; nil: nothing
}

// newNode starts a runner in a folder, with rules and a panel.
func newNode(t *testing.T, dir string, opt *arming.Options, change func(*node)) *node {
	n := &node{t: t, dir: dir}
	if change != nil {
		change(n)
	}
	n.Runner = NewRunner(Wiring{Do: n.do, Observe: func(sensors.Reading) {}, Record: n.record, Report: n.report,
		Store: arming.NewStore(filepath.Join(dir, arming.FileName)), Clock: clock.NewTimekeeper(clock.TrustAlways),
		Log: slog.New(slog.NewTextHandler(n, nil))})
	n.Change(house(), opt, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); n.Run(ctx) }()
	n.end = cancel
	n.stop = sync.OnceFunc(func() { cancel(); <-ended })
	return n
}

func (n *node) do(o outputs.Order) {
	n.mu.Lock()
	n.orders = append(n.orders, o)
	why := n.refuse
	n.mu.Unlock()
	if n.onDo != nil {
		n.onDo(o)
	}
	o.Answer(outputs.Answer{Done: why == "", Why: why})
}

// Write implements io.Writer for the log.
func (n *node) Write(line []byte) (int, error) {
	if n.hangs != nil {
		<-n.hangs
	}
	return n.log.Write(line)
}

func (n *node) record(r sensors.Reading) {
	if n.block != nil {
		<-n.block
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keeps = append(n.keeps, r)
}

func (n *node) report(e sensors.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e.Name+" "+string(e.Details))
}

// takeOrders returns the orders to outputs since the last call.
func (n *node) takeOrders() (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.orders {
		all = append(all, fmt.Sprintf("%s %v by %s", o.Output, o.On, o.By))
	}
	n.orders = nil
	return all
}

// states returns the readings of the panel so far.
func (n *node) states() (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.keeps {
		all = append(all, fmt.Sprintf("%d %s by %s for %s", r.Seq, r.State, r.By, clock.FormatDuration(r.For)))
	}
	return all
}

func (n *node) eventTexts() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.events, "\n")
}

// orderAndWait sends an order to the panel and waits for the answer.
func (n *node) orderAndWait(o arming.Order) string {
	answered := make(chan arming.Answer, 1)
	o.Answer = func(a arming.Answer) { answered <- a }
	n.Order(o)
	return (<-answered).Why
}

func (n *node) want(got, want []string) {
	n.t.Helper()
	if !slices.Equal(got, want) {
		n.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// panelOptions are those of the house, by reference.
func panelOptions(change func(*arming.Options)) *arming.Options {
	opt := options()
	if change != nil {
		change(&opt)
	}
	return &opt
}

// TestRunnerFiresOnTime: delays run by the clock, and each change is a reading.
func TestRunnerFiresOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, t.TempDir(), panelOptions(nil), nil)
		defer n.stop()
		if why := n.orderAndWait(arming.Order{To: "armed_away", By: "order:a1"}); why != "" {
			t.Fatal(why)
		}
		time.Sleep(31 * time.Second)
		n.Observe(readingOf("door", "open"))
		n.want(n.takeOrders(), []string{"buzzer true by rule:beep"})
		time.Sleep(19999 * time.Millisecond)
		n.want(n.takeOrders(), nil)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		n.want(n.takeOrders(), []string{"siren true by rule:intruder"})
		time.Sleep(time.Minute)
		if why := n.orderAndWait(arming.Order{To: arming.Disarmed, By: "order:a2"}); why != "" {
			t.Fatal(why)
		}
		n.want(n.takeOrders(), []string{"siren false by arming", "bell true by rule:chime"}) // the door is open
		n.stop()
		n.want(n.states(), []string{"1 disarmed by start for 0s", "2 arming by order:a1 for 30s",
			"3 armed_away by exit for 0s", "4 pending by rule:intruder for 20s", "5 triggered by rule:intruder for 3m",
			"6 disarmed by order:a2 for 0s"})
	})
}

// TestHungDiskDoesNotDelayASiren: neither the history nor the state file.
func TestHungDiskDoesNotDelayASiren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, t.TempDir(), panelOptions(nil), func(n *node) { n.block = make(chan struct{}) })
		n.orderAndWait(arming.Order{To: "armed_away", By: "order:a1"})
		time.Sleep(31 * time.Second)
		n.Observe(readingOf("window", "open"))
		n.want(n.takeOrders(), []string{"siren true by rule:intruder"})
		if s, _ := n.Status(); s.State != arming.Triggered {
			t.Errorf("it is %s", s.State)
		}
		before := time.Now()
		n.stop()
		if d := time.Since(before); d != endTimeout {
			t.Errorf("the end waited %v for the disk", d)
		}
		close(n.block)
		synctest.Wait()
		if len(n.states()) != 4 {
			t.Errorf("%q", n.states())
		}
	})
}

// TestRestartRestoresThePanel, also after a disk that could not be written for a while.
func TestRestartRestoresThePanel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, arming.FileName)
		n := newNode(t, dir, panelOptions(nil), nil)
		n.orderAndWait(arming.Order{To: "armed_home", Bypass: []string{"window"}, By: "order:a1"})
		time.Sleep(31 * time.Second)
		n.stop()
		if err := errors.Join(os.Mkdir(path+".new", 0o700), os.WriteFile(path+".new/x", nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		n = newNode(t, dir, panelOptions(nil), nil)
		if s, _ := n.Status(); s.State != "armed_home" || !slices.Equal(s.Bypass, []string{"window"}) {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute)
		if got := n.eventTexts(); !strings.Contains(got, `arming_file {"error":`) || strings.Count(got, "\n") > 0 {
			t.Errorf("of a disk that cannot be written: %s", got)
		}
		n.Observe(readingOf("door", "open"))
		synctest.Wait()
		if err := os.RemoveAll(path + ".new"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		n.stop()
		if got := n.eventTexts(); !strings.HasSuffix(got, `arming_file {"state":"saved"}`) {
			t.Errorf("of a disk that works again: %s", got)
		}
		n = newNode(t, dir, panelOptions(nil), nil)
		n.want(n.takeOrders(), []string{"siren true by rule:intruder"})
		n.stop()
	})
}

// TestOrdersAtTheStopAreSaved: the agent ends while an order is done, and the answer to
// it is that it was done.
func TestOrdersAtTheStopAreSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		n := newNode(t, dir, panelOptions(nil), func(n *node) {
			n.onDo = func(o outputs.Order) {
				if o.By == "arming" {
					n.end()
					time.Sleep(time.Second) // time for everything that ends at once
				}
			}
		})
		n.Observe(readingOf("loop", "cut"))
		synctest.Wait() // no goroutine waits for the lock, which is held while onDo sleeps
		if why := n.orderAndWait(arming.Order{To: arming.Disarmed, By: "order:a1"}); why != "" {
			t.Fatal(why)
		}
		n.stop()
		saved, err := arming.NewStore(filepath.Join(dir, arming.FileName)).Load("away")
		if err != nil || saved.State != arming.Disarmed {
			t.Errorf("%s is saved, want %s: %v", saved.State, arming.Disarmed, err)
		}
	})
}

// TestDamagedStateFileMeansArmed: and the damage is reported.
func TestDamagedStateFileMeansArmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, arming.FileName), []byte("disarmed"), 0o600); err != nil {
			t.Fatal(err)
		}
		n := newNode(t, dir, panelOptions(nil), nil)
		n.stop()
		n.want(n.states(), []string{"1 armed_away by start for 0s"})
		if got := n.eventTexts(); !strings.Contains(got, `"now":"armed_away","state":"damaged"`) {
			t.Errorf("events: %s", got)
		}
	})
}

// codesOf makes a codes file with the code of one person.
func codesOf(t *testing.T, dir, name, code string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "codes")
	line, err := arming.NewLine(name, code)
	if err == nil {
		err = os.WriteFile(path, []byte(line+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCodesAreCheckedAndNotLogged: a wrong code is refused, the sixth one without a check, and no
// output or log line contains a code.
func TestCodesAreCheckedAndNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		n := newNode(t, dir, panelOptions(func(o *arming.Options) { o.CodesFile = codesOf(t, dir, "anna", "471100") }), nil)
		disarm := func(code string) string {
			return n.orderAndWait(arming.Order{To: arming.Disarmed, Code: code, By: "order:a1"})
		}
		if why := n.orderAndWait(arming.Order{To: "armed_away", By: "order:a1"}); why != "" {
			t.Errorf("armed without a code: %q", why)
		}
		if why := n.orderAndWait(arming.Order{To: "armed_away", Code: "471199", By: "order:a1"}); why != "code" {
			t.Errorf("armed with a wrong code: %q", why)
		}
		for _, code := range []string{"", "471199", "4711", "471199"} {
			if why := disarm(code); why != "code" {
				t.Errorf("%q: %q", code, why)
			}
		}
		if why := disarm("471100"); why != "locked" {
			t.Errorf("the right code after five wrong ones: %q", why)
		}
		if s, _ := n.Status(); s.State != "arming" || time.Until(s.Locked) != time.Minute {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute)
		if why := disarm("471100"); why != "" {
			t.Errorf("the right code after a minute: %q", why)
		}
		n.stop()
		if !slices.Contains(n.states(), "4 disarmed by code:anna for 0s") {
			t.Errorf("%q", n.states())
		}
		if !strings.Contains(n.eventTexts(), `code_lock {"for_s":60}`) {
			t.Errorf("events: %s", n.eventTexts())
		}
		state, err := os.ReadFile(filepath.Join(dir, arming.FileName))
		if err != nil {
			t.Fatal(err)
		}
		if all := n.eventTexts() + n.log.String() + string(state) + fmt.Sprint(n.states()); strings.Contains(all, "4711") {
			t.Errorf("a code was reported: %s", all)
		}
	})
}

// TestUnreadableCodesFileAcceptsNoCode: disarming is not possible then.
func TestUnreadableCodesFileAcceptsNoCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		n := newNode(t, dir, panelOptions(func(o *arming.Options) { o.CodesFile = filepath.Join(dir, "none") }), nil)
		defer n.stop()
		n.orderAndWait(arming.Order{To: "armed_away", By: "order:a1"})
		if why := n.orderAndWait(arming.Order{To: arming.Disarmed, Code: "4711", By: "order:a1"}); why != "code" {
			t.Errorf("%q", why)
		}
	})
}

// TestHungCodesFileDoesNotDelayShutdown: the file is a pipe without a writer. Orders that wait for
// the codes are answered that the agent ends, not that the code is wrong.
func TestHungCodesFileDoesNotDelayShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "codes")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		n := newNode(t, t.TempDir(), panelOptions(func(o *arming.Options) { o.CodesFile = path }), nil)
		answered := make(chan arming.Answer, 1)
		n.Order(arming.Order{To: arming.Disarmed, Code: "4711", By: "order:a1",
			Answer: func(a arming.Answer) { answered <- a }})
		n.stop()
		if a := <-answered; a != agentEnds || n.log.Len() > 0 {
			t.Errorf("%+v; the log: %s", a, n.log.String())
		}
		// The goroutine that reads must end. It has opened the pipe, waits for that, or finds none.
		other, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(path)
		other.Close()
	})
}

// TestRefusedOrderIsReported.
func TestRefusedOrderIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, t.TempDir(), panelOptions(nil), func(n *node) { n.refuse = "rest" })
		n.Observe(readingOf("loop", "cut"))
		n.stop()
		const want = `order_refused {"by":"rule:tamper","output":"siren","why":"rest"}`
		if !strings.HasPrefix(n.eventTexts(), want) {
			t.Errorf("events: %s", n.eventTexts())
		}
	})
}

// TestFiredRuleNamesItsCause: once each time it fires, not while its conditions stay met.
func TestFiredRuleNamesItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, t.TempDir(), panelOptions(nil), nil)
		for _, word := range []string{"cut", "cut", "closed", "cut"} {
			n.Observe(readingOf("loop", word))
		}
		n.stop()
		once := `tripped {"rule":"tamper","streams":["loop"]}`
		if n.eventTexts() != once+"\n"+once {
			t.Errorf("events: %s", n.eventTexts())
		}
	})
}

// TestRestartsAreOneAlarm: the siren time continues over restarts of the agent.
func TestRestartsAreOneAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		n := newNode(t, dir, panelOptions(nil), nil)
		n.Observe(readingOf("loop", "cut"))
		for range 3 {
			time.Sleep(time.Second)
			n.stop()
			n = newNode(t, dir, panelOptions(nil), nil)
		}
		synctest.Wait()
		n.stop()
		s, _ := n.Status()
		// The uptime of the machine does not follow the time of this test, so only its
		// limit is known: it began with the alarm, or later.
		if left := s.Until.Sub(s.Since); s.State != arming.Triggered || left > 3*time.Minute {
			t.Errorf("%s for %v", s.State, left)
		}
	})
}

// TestReadingsAndOrdersMayComeFromAnywhere is for the race detector.
func TestReadingsAndOrdersMayComeFromAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, t.TempDir(), panelOptions(nil), nil)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range 100 {
					n.Observe(readingOf("door", words["door"][i%2]))
					n.Order(arming.Order{To: "armed_away", By: "order"})
					n.Status()
				}
			})
		}
		for range 10 {
			n.Change(house()[:3], panelOptions(nil), []sensors.Reading{readingOf("window", "closed")})
			n.Change(house(), panelOptions(nil), nil)
		}
		n.Change(nil, nil, nil)
		all.Wait()
		n.stop()
		if _, ok := n.Status(); ok {
			t.Error("there is a panel after a reload without one")
		}
	})
}

// BenchmarkRunner: a reading of a stream that no rule uses, and one that changes a condition but
// fires no rule.
func BenchmarkRunner(b *testing.B) {
	r := NewRunner(Wiring{Do: func(outputs.Order) {}, Clock: clock.NewTimekeeper(clock.TrustAlways)})
	r.Change(house()[3:4], nil, nil)
	for name, readings := range map[string][]sensors.Reading{
		"others": {{Stream: "room", Value: 21}, {Stream: "room", Value: 22}},
		"ours":   {readingOf("cellar", "dry"), readingOf("cellar", "fails")},
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				r.Observe(readings[i%2])
			}
		})
	}
}

// TestFailedArmingByKeyIsReported: the switch itself cannot show an answer.
func TestFailedArmingByKeyIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, t.TempDir(), panelOptions(func(o *arming.Options) { o.Ready = []string{"window"} }), nil)
		for _, r := range []sensors.Reading{readingOf("window", "open"), readingOf("key", "off"), readingOf("key", "on")} {
			n.Observe(r)
		}
		n.stop()
		if want := `arming_refused {"by":"key","why":"open: window"}`; n.eventTexts() != want {
			t.Errorf("events: %s", n.eventTexts())
		}
		n.want(n.states(), []string{"1 disarmed by start for 0s"})
	})
}

// TestFloodOfOrdersIsRefused: each costs a hash, so only a few wait, and each is answered.
func TestFloodOfOrdersIsRefused(t *testing.T) {
	r := NewRunner(Wiring{Clock: clock.NewTimekeeper(clock.TrustAlways)}) // which does not run
	refused, ended := 0, 0
	for range 10_000 {
		r.Order(arming.Order{To: arming.Disarmed, Answer: func(a arming.Answer) {
			if !a.Done && a.Why == "busy: too many orders wait" {
				refused++
			}
			if a.Why == "stop: the agent ends" {
				ended++
			}
		}})
	}
	if refused != 10_000-maxOrders {
		t.Errorf("%d were refused, want all but %d", refused, maxOrders)
	}
	if r.refuseWaiting(); ended != maxOrders {
		t.Errorf("%d were answered at the end, want %d", ended, maxOrders)
	}
}

// TestHungLogDoesNotDelayRules: a rule was removed before its entry delay ends, which logs a warning.
// The next rule must fire anyway.
func TestHungLogDoesNotDelayRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt, log := options(), make(chan struct{})
		n := newNode(t, t.TempDir(), &opt, func(n *node) { n.hangs = log })
		defer n.stop()
		defer close(log)
		n.orderAndWait(arming.Order{To: "armed_away", By: "order:a1"})
		time.Sleep(time.Minute)
		n.Observe(readingOf("door", "closed"))
		n.Observe(readingOf("door", "open"))
		n.Change(house()[1:], &opt, nil)
		time.Sleep(time.Minute) // the entry delay is over
		n.takeOrders()
		if !n.Runner.mu.TryLock() {
			t.Fatal("the log is written under the lock of the rules")
		}
		n.Runner.mu.Unlock()
		n.Observe(readingOf("cellar", "wet"))
		if got := n.takeOrders(); len(got) == 0 {
			t.Error("no rule fires")
		}
	})
}
