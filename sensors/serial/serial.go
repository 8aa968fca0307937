// Package serial runs functions one after another on a goroutine of their own, so that the
// caller does not wait for them.
package serial

import "sync"

// An Executor runs functions in the order of Put on the goroutine of Run. The functions may
// wait for a disk; Put does not block. Its methods are safe for concurrent use.
type Executor struct {
	mu      sync.Mutex
	changed sync.Cond     // signals a change of todo or closed; its lock is mu
	todo    []func()      // guarded by mu
	closed  bool          // guarded by mu
	ended   chan struct{} // closed when Run has returned
}

// maxTodo limits the memory while a disk hangs: outputs and panels change a few times a
// minute.
const maxTodo = 10_000

// New returns an executor. The caller has to start Run before it calls Flush or Close.
func New() *Executor {
	e := &Executor{ended: make(chan struct{})}
	e.changed.L = &e.mu
	return e
}

// Put adds a function. It returns false, and the function is not run, if maxTodo functions
// wait or after Close.
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

// Run runs the functions until Close was called and none is left. It is called once.
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

// next waits for functions to run; nil: the executor is closed and none is left.
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

// Flush waits until all functions that were put before have run.
func (e *Executor) Flush() {
	done := make(chan struct{})
	if e.Put(func() { close(done) }) {
		<-done
	}
}

// Close ends Run after all functions that were put before have run, and waits for that.
func (e *Executor) Close() {
	e.mu.Lock()
	e.closed = true
	e.changed.Signal()
	e.mu.Unlock()
	<-e.ended
}
