package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// maxWaiting bounds the bytes of the lines that wait for a log that hangs: some thousand
// lines, the log of hours.
const maxWaiting = 256 << 10

// lastLines is how long the agent waits at its end for a log that hangs.
const lastLines = time.Second

// An asyncWriter writes lines to another writer in a goroutine of its own. Whoever logs
// never waits: a log that hangs (a journal on a disk that hangs, a pipe that nobody reads)
// must not keep an output on or a reading from the queue. What does not fit into the buffer
// is lost, and one line says how many were. Any goroutine may use it.
type asyncWriter struct {
	to    io.Writer     // for the goroutine of run
	ended chan struct{} // closed when run has returned

	mu      sync.Mutex
	changed sync.Cond // of what follows; its lock is mu
	waiting []byte    // whole lines, at most maxWaiting bytes
	lost    int       // the number of lines that did not fit behind them
	closed  bool
}

// newAsyncWriter starts a writer, which close ends.
func newAsyncWriter(to io.Writer) *asyncWriter {
	w := &asyncWriter{to: to, ended: make(chan struct{})}
	w.changed.L = &w.mu
	go w.run()
	return w
}

// Write takes one whole line, which is how slog's handlers write. It has no errors.
func (w *asyncWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// After the first line that is lost, a shorter one may fit. It is lost as well: the line
	// that says how many were lost has to stand in the place of all of them.
	if w.lost > 0 || len(w.waiting)+len(line) > maxWaiting {
		w.lost++
	} else {
		w.waiting = append(w.waiting, line...)
	}
	w.changed.Signal()
	return len(line), nil
}

// run writes what waits, at once, until close was called and nothing waits. A write that
// fails loses its lines, as it does in slog's handlers.
func (w *asyncWriter) run() {
	defer close(w.ended)
	const maxKept = 16 << 10 // bytes of memory; more was for a log that was slow
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

// next waits for lines and returns them. What comes next is kept in the memory of spare.
// No line: there will be none any more.
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

// lostLine is the line that says how many were lost.
func lostLine(lines int) []byte {
	var text bytes.Buffer
	log := newLog(&text)
	log.Warn("log lines are lost: what reads the log hung", "lines", lines)
	return text.Bytes()
}

// close writes what waits and ends the writer. It waits for it no longer than limit, and
// reports whether everything was written. What is logged after close may be lost.
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
