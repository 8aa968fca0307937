package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// maxWaiting limits the bytes of lines that wait while the log hangs: some thousand lines,
// enough for hours.
const maxWaiting = 256 << 10

// lastLines is how long the agent waits at shutdown for a log that hangs.
const lastLines = time.Second

// An asyncWriter writes lines to another writer in its own goroutine, so logging never
// blocks: a log that hangs (a journal on a disk that hangs, a pipe that nobody reads) must
// not delay an output or a reading. Lines that do not fit into the buffer are lost, and one
// line reports how many. It may be used by any goroutine.
type asyncWriter struct {
	to    io.Writer     // for the goroutine of run
	ended chan struct{} // closed when run has returned

	mu      sync.Mutex
	changed sync.Cond // of what follows; its lock is mu
	waiting []byte    // whole lines, at most maxWaiting bytes
	lost    int       // the number of lines that did not fit behind them
	closed  bool
}

// newAsyncWriter starts a writer. The caller has to call close.
func newAsyncWriter(to io.Writer) *asyncWriter {
	w := &asyncWriter{to: to, ended: make(chan struct{})}
	w.changed.L = &w.mu
	go w.run()
	return w
}

// Write takes one whole line per call, as slog's handlers write it. It never returns an
// error.
func (w *asyncWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// After the first lost line a shorter one may fit. It is dropped too, because the line with
	// the number of lost lines has to appear in the place of all of them.
	if w.lost > 0 || len(w.waiting)+len(line) > maxWaiting {
		w.lost++
	} else {
		w.waiting = append(w.waiting, line...)
	}
	w.changed.Signal()
	return len(line), nil
}

// run writes waiting lines at once, until close was called and no line waits. A write that
// fails loses its lines, as in slog's handlers.
func (w *asyncWriter) run() {
	defer close(w.ended)
	const maxKept = 16 << 10 // bytes; a larger buffer was only needed while the log was slow
	var spare []byte
	for {
		lines := w.next(spare)
		if len(lines) == 0 {
			return
		}
		_, _ = w.to.Write(lines)
		spare = nil
		if cap(lines) <= maxKept {
			spare = lines
		}
	}
}

// next waits for lines and returns them. The next lines are stored in the memory of spare.
// An empty result means that the writer is closed.
func (w *asyncWriter) next(spare []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) == 0 && w.lost == 0 && !w.closed {
		w.changed.Wait()
	}
	lines, lost := w.waiting, w.lost
	w.waiting, w.lost = spare[:0], 0
	if lost > 0 {
		lines = append(lines, lostLine(lost)...)
	}
	return lines
}

// lostLine is the line with the number of lost lines.
func lostLine(lines int) []byte {
	var text bytes.Buffer
	log := newLog(&text)
	log.Warn("log lines are lost: what reads the log hung", "lines", lines)
	return text.Bytes()
}

// close writes the waiting lines and ends the writer, but waits no longer than limit. It
// reports whether everything was written. Lines that are logged after close may be lost.
func (w *asyncWriter) close(limit time.Duration) bool {
	w.mu.Lock()
	w.closed = true
	w.changed.Signal()
	w.mu.Unlock()
	expired := time.NewTimer(limit)
	defer expired.Stop()
	select {
	case <-w.ended:
		return true
	case <-expired.C:
		return false
	}
}
