// Package serial runs functions one after another, away from those that want them run.
package serial

import "sync"

// An Executor runs functions one after another in the goroutine of Run, so that whoever
// puts one never waits: what it does may wait for a disk. It may be used from any
// goroutine.
type Executor struct {
	mu      sync.Mutex
	changed sync.Cond // of what follows; its lock is mu
	todo    []func()
	closed  bool
	ended   chan struct{} // closed when Run has returned
}

// maxTodo bounds the memory behind a disk that hangs: outputs and panels change a few
// times a minute.
const maxTodo = 10_000

// New returns an executor. Run has to be called, before Flush and Close.
func New() *Executor {
	e := &Executor{ended: make(chan struct{})}
	e.changed.L = &e.mu
	return e
}

// Put has a function run. It reports false if there are too many, or after Close: then it
// is not run.
func (e *Executor) Put(do func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.todo) >= maxTodo {
		return false
	}
	e.todo = append(e.todo, do)
	e.changed.Signal()
	return true
}

// Run runs what is put until Close was called and nothing is left. It is called once.
func (e *Executor) Run() {
	defer close(e.ended)
	for {
		todo := e.next()
		if todo == nil {
			return
		}
		for _, do := range todo {
			do()
		}
	}
}

// next waits for something to run; nil: there will be nothing any more.
func (e *Executor) next() []func() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.todo) == 0 && !e.closed {
		e.changed.Wait()
	}
	todo := e.todo
	e.todo = nil
	return todo
}

// Flush waits until all that was put before has run.
func (e *Executor) Flush() {
	done := make(chan struct{})
	if e.Put(func() { close(done) }) {
		<-done
	}
}

// Close ends Run when all that was put has run, and waits for that.
func (e *Executor) Close() {
	e.mu.Lock()
	e.closed = true
	e.changed.Signal()
	e.mu.Unlock()
	<-e.ended
}
