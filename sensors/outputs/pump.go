package outputs

import "sync"

// A pump does one thing after another in a goroutine of its own, so that who has them
// done never waits: what it does may wait for the disk.
type pump struct {
	mu      sync.Mutex
	changed sync.Cond // of what follows; its lock is mu
	todo    []func()
	lost    int // that found no room
	closed  bool
	ended   chan struct{} // closed when run has returned
}

// maxTodo bounds the memory of a disk that hangs: an output changes a few times a minute.
const maxTodo = 10_000

// newPump returns a pump. Its run has to be called.
func newPump() *pump {
	p := &pump{ended: make(chan struct{})}
	p.changed.L = &p.mu
	return p
}

// put has something done. It does not wait. It reports false if there is no room, or the
// pump has ended.
func (p *pump) put(do func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.todo) >= maxTodo {
		p.lost++
		return false
	}
	p.todo = append(p.todo, do)
	p.changed.Signal()
	return true
}

// run does what is put until the pump is closed and nothing is left.
func (p *pump) run() {
	defer close(p.ended)
	for {
		todo := p.next()
		if todo == nil {
			return
		}
		for _, do := range todo {
			do()
		}
	}
}

// next waits for something to do; nil: there will be nothing any more.
func (p *pump) next() []func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.todo) == 0 && !p.closed {
		p.changed.Wait()
	}
	todo := p.todo
	p.todo = nil
	return todo
}

// flush waits until all that was put before is done.
func (p *pump) flush() {
	done := make(chan struct{})
	if p.put(func() { close(done) }) {
		<-done
	}
}

// close ends the pump when it has done all that was put, and waits for that.
func (p *pump) close() {
	p.mu.Lock()
	p.closed = true
	p.changed.Signal()
	p.mu.Unlock()
	<-p.ended
}
