// Package systemd reports the state of the agent to the service manager by the protocol of
// sd_notify(3): that it is ready, reloads or stops, its state in words, and that its loops
// make progress.
//
// Without $NOTIFY_SOCKET there is no service manager, and a [Notifier] does nothing.
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

// statusEvery is how often the state in words is checked for changes if there is no
// watchdog.
const statusEvery = 30 * time.Second

// A Notifier reports to the service manager during the whole life of the process. Its
// methods may be called from any goroutine. A nil Notifier is valid and does nothing.
type Notifier struct {
	log        *slog.Logger
	send       func(state string) error // to the service manager; from any goroutine
	sendFailed atomic.Bool              // the failure was logged
	watchdog   watchdog

	// mu is separate from the watchdog's mutex: describe may wait for a lock that a hanging
	// loop holds, and the watchdog has to name that loop.
	mu         sync.Mutex
	describe   func() string // the state in words; nil: nothing runs yet
	lastStatus string        // the last one that was sent
}

// New returns a Notifier for this process, nil without a service manager. It sends a first
// state, which shows whether there is one. An error of sending is ignored, because the
// service manager may be restarting. A watchdog timeout that cannot be parsed counts as no
// watchdog.
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

// newNotifier is New with its dependencies as parameters, for tests. A timeout of 0 means
// that there is no watchdog.
func newNotifier(log *slog.Logger, send func(string) error, timeout time.Duration) *Notifier {
	return &Notifier{log: log, send: send, watchdog: watchdog{
		log: log, timeout: timeout, stuck: func() bool { return threadStuck("/proc/self/task") }}}
}

// Loop adds a loop to those that the watchdog monitors, or replaces one of the same name
// that has ended. Forget removes all. The loop calls progress from its own goroutine, with
// the time within which it will call again unless it hangs. 0 means that there is no limit:
// it waits for something with its own limit or none, such as a driver or an edge of a
// contact, or it has ended.
func (n *Notifier) Loop(name string) (progress func(within time.Duration)) {
	if n == nil {
		return func(time.Duration) {}
	}
	return n.watchdog.add(name)
}

// Ready reports that the agent runs: at the start, and again after a reload. describe
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

// readyLocked requires mu to be locked, and describe to be set.
func (n *Notifier) readyLocked() {
	n.lastStatus = oneLine(n.describe())
	n.notify("READY=1\nSTATUS=" + n.lastStatus)
}

// Reloading reports that the configuration is being read again. Ready or Kept has to
// follow. The message has the monotonic time in microseconds: by it the service manager
// tells this reload from an earlier one (sd_notify(3), MONOTONIC_USEC).
func (n *Notifier) Reloading() {
	if n == nil {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic("systemd: the monotonic clock: " + err.Error()) // Linux always has it
	}
	n.notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=reads the configuration again", now.Nano()/1000))
}

// Kept reports that the reload is over and the configuration has not changed.
func (n *Notifier) Kept() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.describe != nil { // otherwise the agent is not ready yet, and Ready follows
		n.readyLocked()
	}
}

// Changed sends the state in words if it is different. It may be called often: equal texts
// are sent once.
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
		n.notify("STATUS=" + status)
	}
}

// Forget removes the loops and the state of a configuration that has ended.
func (n *Notifier) Forget() {
	if n == nil {
		return
	}
	n.watchdog.forget()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.describe = nil
}

// Run sends the state in words and feeds the watchdog until ctx is done; then it reports
// that the agent stops.
//
// It is called once and blocks. It feeds four times per timeout, which leaves room for a
// late message; systemd recommends twice (sd_watchdog_enabled(3)). State and watchdog have
// a goroutine each, because describe may block, and the watchdog has to be fed all the
// same.
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
	n.notify("STOPPING=1\nSTATUS=stops")
	work.Wait()
}

const maxStatus = 400 // bytes: systemctl shows it on one line

// oneLine replaces line breaks: the text may contain an answer of the broker, and each line
// of a message is a command to the service manager.
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

// feed reports to the service manager that the agent is alive, unless a loop hangs. It does
// not take mu, which a call of describe may hold for long.
func (n *Notifier) feed() {
	if n.watchdog.mayFeed() {
		n.notify("WATCHDOG=1")
	}
}

// repeat calls do periodically until ctx is done. The ticker drops ticks that occur while
// do runs.
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

// notify sends a message to the service manager. An error is logged once: the service
// manager may be restarting.
func (n *Notifier) notify(state string) {
	err := n.send(state)
	if failed := n.sendFailed.Swap(err != nil); err != nil && !failed {
		n.log.Warn("the service manager was not told how the agent is", "err", err)
	}
}
