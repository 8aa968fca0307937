package sensors

import "sync"

// maxIdle is how many idle goroutines a pool keeps: two sensors at a time need two each, a
// worker and a call. Each keeps its stack, which has grown to 8 or 16 kB.
const maxIdle = 4

// A pool runs each task on a goroutine of its own and reuses the goroutines of tasks that
// have returned. So the stack that a driver or the disk needs is grown once and not for
// each sample. The zero value is ready for use; its methods are safe for concurrent use.
type pool struct {
	mu    sync.Mutex
	idle  []chan task // of the goroutines that wait for a task, last in first out; guarded by mu
	ended bool        // no goroutine is kept any more; guarded by mu

	waiting sync.WaitGroup // goroutines in idle
}

// A task runs on a goroutine of the pool. If freed is not nil, the pool calls it after the
// goroutine was made available for another task.
type task func() (freed func())

// run runs a task on an idle goroutine or on a new one. It does not block.
func (p *pool) run(do task) {
	p.mu.Lock()
	var work chan task
	if last := len(p.idle) - 1; last >= 0 {
		work, p.idle = p.idle[last], p.idle[:last]
	}
	p.mu.Unlock()
	if work != nil {
		work <- do // does not block: it has room for one, and only this call took it from idle
		return
	}
	go p.serve(do)
}

// serve runs a task, and then others for as long as the pool keeps the goroutine.
func (p *pool) serve(do task) {
	work := make(chan task, 1)
	for do != nil {
		freed := do()
		// Before freed: the caller that freed wakes may run the next task at once.
		kept := p.keep(work)
		if freed != nil {
			freed()
		}
		if !kept {
			return
		}
		do = <-work
		p.waiting.Done()
	}
}

// keep makes a goroutine idle unless there are enough, and reports whether the goroutine
// has to wait for a task.
func (p *pool) keep(work chan task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || len(p.idle) == maxIdle {
		return false
	}
	p.idle = append(p.idle, work)
	p.waiting.Add(1)
	return true
}

// end ends the idle goroutines and waits for them. Each other goroutine ends when its task
// has returned, and end does not wait for it: a driver may hang.
func (p *pool) end() {
	p.mu.Lock()
	p.ended = true
	for _, work := range p.idle {
		work <- nil
	}
	p.idle = nil
	p.mu.Unlock()
	p.waiting.Wait()
}
