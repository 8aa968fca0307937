package sensors

import "sync"

// maxIdle is how many goroutines a pool keeps: those of a worker and of a call, for two
// sensors at once. Each keeps the stack that it has grown, 8 or 16 kB.
const maxIdle = 4

// A pool runs functions, each on a goroutine that no other has at the time, and keeps some of
// the goroutines for the next ones: what a driver and the disk need of a stack is then grown
// once, and not for each sample. A function that does not return has its goroutine for
// itself. The zero value is ready, and may be used from any goroutine.
type pool struct {
	mu    sync.Mutex
	idle  []chan task // of those that wait for a task, the last to finish at the end; guarded by mu
	ended bool        // no goroutine is kept any more; guarded by mu

	waiting sync.WaitGroup // goroutines in idle
}

// A task is run on a goroutine of the pool. What it returns is called when the goroutine is
// free for another task; nil: nothing is.
type task func() (freed func())

// run runs a task, on a goroutine that is idle or on a new one. It does not wait.
func (p *pool) run(do task) {
	p.mu.Lock()
	var work chan task
	if last := len(p.idle) - 1; last >= 0 {
		work, p.idle = p.idle[last], p.idle[:last]
	}
	p.mu.Unlock()
	if work != nil {
		work <- do // it has room: nobody else has taken it from idle
		return
	}
	go p.serve(do)
}

// serve runs a task, and then others for as long as the pool keeps the goroutine.
func (p *pool) serve(do task) {
	work := make(chan task, 1)
	for do != nil {
		freed := do()
		// Before freed: who waits for it may have the next task.
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

// keep makes a goroutine idle, and reports whether it is to wait for a task.
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

// end ends the goroutines that are idle, and each other one when its task has returned.
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
