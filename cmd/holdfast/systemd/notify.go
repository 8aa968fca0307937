// Package systemd tells the service manager how the agent is, by the protocol of
// sd_notify(3): that it is ready, reloads or stops, what its state is in words, and
// that its loops make progress.
//
// Without $NOTIFY_SOCKET nobody listens, and a [Notifier] does nothing.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// statusEvery is how often the state in words is looked at if there is no watchdog
// to be fed.
const statusEvery = 30 * time.Second

// A Notifier speaks to the service manager for the whole life of the process. Its
// methods may be called from any goroutine, and on a nil Notifier, which does
// nothing.
type Notifier struct {
	log        *slog.Logger
	send       func(state string) error // to the service manager; from any goroutine
	sendFailed atomic.Bool              // the log was told
	watchdog   watchdog

	// mu is apart from the watchdog's: describe may wait for a lock that a loop which
	// hangs holds, and the watchdog has to name that loop.
	mu         sync.Mutex
	describe   func() string // the state in words; nil: nothing runs yet
	lastStatus string        // what was sent last
}

// New returns a Notifier for this process, nil if no service manager listens. It sends
// a first state, which shows whether somebody listens; an error of sending is no reason
// to give up, as the service manager may be restarting. A timeout of the watchdog that
// cannot be read counts as none.
func New(log *slog.Logger) *Notifier {
	send := func(state string) error {
		_, err := daemon.SdNotify(false, state)
		return err
	}
	if heard, err := daemon.SdNotify(false, "STATUS=starting"); !heard && err == nil {
		return nil
	}
	timeout, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog is not fed", "err", err)
	}
	return newNotifier(log, send, timeout)
}

// newNotifier is New with the ways out of the process as parameters, for tests. A
// timeout of 0 means that there is no watchdog to feed.
func newNotifier(log *slog.Logger, send func(string) error, timeout time.Duration) *Notifier {
	return &Notifier{log: log, send: send, watchdog: watchdog{
		log: log, timeout: timeout, stuck: func() bool { return threadStuck("/proc/self/task") }}}
}

// Loop adds a loop to what the watchdog looks at, until Forget, or in the place of one
// of the same name that has ended. The loop calls
// progress from its own goroutine, with the time within which it calls again
// unless it hangs; 0 says that it waits for something that has bounds of its own
// or none, such as a driver or the edge of a contact, or that it has ended.
func (n *Notifier) Loop(name string) (progress func(within time.Duration)) {
	if n == nil {
		return func(time.Duration) {}
	}
	return n.watchdog.add(name)
}

// Ready says that the agent runs: at the start, and again after a reload. describe
// returns the state in words, and must not call the Notifier.
func (n *Notifier) Ready(describe func() string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.describe = describe
	n.readyLocked()
}

// readyLocked needs mu, and describe to be set.
func (n *Notifier) readyLocked() {
	n.lastStatus = oneLine(n.describe())
	n.tell("READY=1\nSTATUS=" + n.lastStatus)
}

// Reloading says that the configuration is read again. Ready or Kept follows. The time
// is that of the monotonic clock in microseconds: with it the service manager tells
// this reload from an earlier one (sd_notify(3), MONOTONIC_USEC).
func (n *Notifier) Reloading() {
	if n == nil {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic("systemd: the monotonic clock: " + err.Error()) // Linux always has it
	}
	n.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=reads the configuration again", now.Nano()/1000))
}

// Kept says that the reload is over and the configuration is the one of before.
func (n *Notifier) Kept() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.describe != nil { // else the agent is not ready yet, and Ready comes
		n.readyLocked()
	}
}

// Changed sends the state in words if it is another one. It may be called as often as
// one likes: equal texts are sent once.
func (n *Notifier) Changed() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.describe == nil {
		return
	}
	if status := oneLine(n.describe()); status != n.lastStatus {
		n.lastStatus = status
		n.tell("STATUS=" + status)
	}
}

// Forget ends what a configuration has told: its loops are over.
func (n *Notifier) Forget() {
	if n == nil {
		return
	}
	n.watchdog.forget()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.describe = nil
}

// Run sends the state in words and feeds the watchdog until ctx is done; then it
// says that the agent stops.
//
// It is called once and blocks. A quarter of the timeout leaves room for a message that
// is late; systemd recommends half of it (sd_watchdog_enabled(3)). Each of the two has
// a goroutine, as describe may block, and the watchdog has to be fed all the same.
func (n *Notifier) Run(ctx context.Context) {
	if n == nil {
		return
	}
	var work sync.WaitGroup
	every := statusEvery
	if n.watchdog.timeout > 0 {
		every = n.watchdog.timeout / 4
		work.Go(func() { repeat(ctx, every, n.feed) })
	}
	work.Go(func() { repeat(ctx, every, n.Changed) })
	<-ctx.Done()
	n.tell("STOPPING=1\nSTATUS=stops")
	work.Wait()
}

const maxStatus = 400 // bytes: systemctl shows it on one line

// oneLine makes a text one line: in it may be what a broker said, and each line of
// a message is an order to the service manager.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxStatus {
		text = strings.ToValidUTF8(text[:maxStatus], "") + "..."
	}
	return text
}

// feed tells the service manager that the agent is alive, unless a loop hangs. It does
// not take mu, which a call of describe may hold for long.
func (n *Notifier) feed() {
	if n.watchdog.mayFeed() {
		n.tell("WATCHDOG=1")
	}
}

// repeat calls do in its own goroutine until ctx is done. The ticker drops beats that
// come while do runs.
func repeat(ctx context.Context, every time.Duration, do func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}

// tell sends to the service manager. That it cannot be told is a warning, once:
// it may be restarting.
func (n *Notifier) tell(state string) {
	err := n.send(state)
	if failed := n.sendFailed.Swap(err != nil); err != nil && !failed {
		n.log.Warn("the service manager was not told how the agent is", "err", err)
	}
}
