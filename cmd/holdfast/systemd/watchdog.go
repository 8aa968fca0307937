package systemd

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A watchdog decides whether the service manager's watchdog is fed: only while each loop
// makes progress.
type watchdog struct {
	log     *slog.Logger
	timeout time.Duration // the service manager restarts the agent after this time without WATCHDOG=1; 0: never
	stuck   func() bool   // whether a thread is blocked in the kernel

	mu    sync.Mutex
	loops []*loop // of the running configuration; guarded by mu
	hung  string  // the hanging loop that was logged last; guarded by mu
}

// A loop is one that the watchdog monitors.
type loop struct {
	name  string
	start time.Time
	due   atomic.Int64 // deadline of the next progress, in ns since start; 0: none
}

// progress is called by the loop's goroutine, and needs no lock: due is atomic. It uses the
// monotonic clock, so a step of the wall clock makes nothing late.
func (l *loop) progress(within time.Duration) {
	if within <= 0 {
		l.due.Store(0)
		return
	}
	l.due.Store(int64(time.Since(l.start) + within))
}

// late is the time since the deadline. It is negative before the deadline, and 0 if there
// is none.
func (l *loop) late() time.Duration {
	due := l.due.Load()
	if due == 0 {
		return 0
	}
	return time.Since(l.start) - time.Duration(due)
}

// add may be called from any goroutine. There is no deadline before the first progress.
func (w *watchdog) add(name string) (progress func(within time.Duration)) {
	l := &loop{name: name, start: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loops = slices.DeleteFunc(w.loops, func(l *loop) bool { return l.name == name })
	w.loops = append(w.loops, l)
	return hangOnPurpose(name, l.progress)
}

// forget removes all loops; those that still run may call progress, which has no effect.
func (w *watchdog) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loops = nil
}

// mayFeed reports whether the watchdog is to be fed: all loops make progress, or a restart
// would not help. A process with a thread that is blocked in the kernel cannot be ended, so
// a restart would only stop what still works. A disk that hangs is the usual case.
func (w *watchdog) mayFeed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, late := w.latestLocked()
	if late <= w.timeout/2 {
		if w.hung != "" {
			w.log.Info("makes progress again", "loop", w.hung)
		}
		w.hung = ""
		return true
	}
	stuck := w.stuck()
	if w.hung != name {
		w.hung = name
		what := "hangs: the watchdog is not fed, and systemd will restart the agent"
		if stuck {
			what = "hangs in the kernel, which a restart would not end"
		}
		w.log.Error(what, "loop", name, "late", late.Round(time.Second))
	}
	return stuck
}

// latestLocked returns the loop whose deadline has passed for the longest time. It requires
// mu.
func (w *watchdog) latestLocked() (name string, late time.Duration) {
	for _, l := range w.loops {
		if d := l.late(); d > late {
			name, late = l.name, d
		}
	}
	return name, late
}

// threadStuck reports whether a thread is in uninterruptible sleep: proc(5),
// /proc/pid/stat. dir has a folder for each thread.
func threadStuck(dir string) bool {
	stats, _ := filepath.Glob(filepath.Join(dir, "*", "stat")) // the pattern is valid
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		// The name before the state is in parentheses and may contain any character.
		if end := bytes.LastIndexByte(text, ')'); bytes.HasPrefix(text[end+1:], []byte(" D ")) {
			return true
		}
	}
	return false
}
