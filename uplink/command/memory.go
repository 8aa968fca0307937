package command

import (
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	keptIDs = 64   // of each target: the last ones that were done
	maxIDs  = 1024 // of each target: also signed ones that have not expired; more are refused
	maxAsks = 64   // of each target: questions that wait for an answer
)

// A Memory knows the orders that were done since the start of the agent, by target and
// ID, so that none is done twice. It outlives connections and reloads of the
// configuration, and is not written to disk: see [Checker.Check] for what that means.
type Memory struct {
	boot  string    // of this start of the agent, as in payloads
	began time.Time // the start of the agent

	mu      sync.Mutex
	targets map[string]*targetMemory // guarded by mu
}

// A targetMemory is what is known of one target. It is guarded by the memory's mutex.
type targetMemory struct {
	done  map[string]*doneOrder
	order []*doneOrder         // as done has, oldest first
	asks  map[string]time.Time // questions that wait for an answer, by ID, with the time until when
}

// A doneOrder is an order that may not be done again.
type doneOrder struct {
	id    string
	until time.Time // it is kept so long at least; zero: while it is one of the last ones
	what  string    // what became of it: "done"; empty: that is not known yet
}

// NewMemory returns the memory of a start of the agent. It is made once in a process.
func NewMemory(boot string) *Memory {
	return &Memory{boot: boot, began: time.Now(), targets: map[string]*targetMemory{}}
}

// ofLocked returns what is known of a target. The caller holds mu.
func (m *Memory) ofLocked(target string) *targetMemory {
	t := m.targets[target]
	if t == nil {
		t = &targetMemory{done: map[string]*doneOrder{}, asks: map[string]time.Time{}}
		m.targets[target] = t
	}
	return t
}

// A claim is the answer to the question whether an order may be done.
type claim uint8

const (
	claimed   claim = iota // it may: nobody else gets this answer for the same ID
	wasDone                // it was done before
	noRoom                 // too many orders are known that have not expired
	unasked                // it answers a question that nobody asked, or too late
	elsewhere              // it answers a question of an earlier start of the agent
)

// claim takes note that an order is going to be done. until is how long its ID has to be
// kept at least; zero: among the last ones. answers says that the target asks questions:
// an ID that names this start is then the answer to one of them.
func (m *Memory) claim(target, id string, until time.Time, answers bool) (c claim, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, now := m.ofLocked(target), time.Now()
	if known := t.done[id]; known != nil {
		return wasDone, known.what
	}
	switch boot, isAnswer := answeredBoot(id); {
	case isAnswer && boot != m.boot:
		return elsewhere, ""
	case isAnswer && answers && !now.Before(t.asks[id]):
		return unasked, ""
	}
	if !t.makeRoom(now) {
		return noRoom, ""
	}
	t.add(&doneOrder{id: id, until: until})
	return claimed, ""
}

// makeRoom forgets what need not be kept. It reports false if nothing can be forgotten
// and there are too many.
func (t *targetMemory) makeRoom(now time.Time) bool {
	for len(t.order) >= keptIDs && !now.Before(t.order[0].until) {
		delete(t.done, t.order[0].id)
		t.order[0] = nil
		t.order = t.order[1:]
	}
	return len(t.order) < maxIDs
}

func (t *targetMemory) add(d *doneOrder) {
	t.done[d.id] = d
	t.order = append(t.order, d)
	delete(t.asks, d.id)
}

// settle takes note of what became of an order that was claimed.
func (m *Memory) settle(target, id, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.ofLocked(target).done[id]; d != nil {
		d.what = what
	}
}

// Ask takes note that somebody may answer a question with an order until then: a card
// was shown. The ID is that of the reading: its boot, a colon and its seq.
func (m *Memory) Ask(target, id string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, now := m.ofLocked(target), time.Now()
	for known, end := range t.asks {
		if !now.Before(end) {
			delete(t.asks, known)
		}
	}
	if len(t.asks) < maxAsks {
		t.asks[id] = until
	}
}

// Decide takes note that a question was decided without an order, as by a list in the
// agent. It reports false if an order has answered it already: then nothing may be done.
// An order that comes later is a duplicate.
func (m *Memory) Decide(target, id, what string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.ofLocked(target)
	if t.done[id] != nil || !t.makeRoom(time.Now()) {
		return false
	}
	t.add(&doneOrder{id: id, what: what})
	return true
}

// answerForm is an ID that names a reading: the boot of a start of the agent, and a seq.
var answerForm = regexp.MustCompile(`^([0-9]{1,20}-[0-9a-f]{8}):[0-9]{1,20}$`)

// answeredBoot returns the start of the agent in which the question was asked that an
// order answers, if its ID names one.
func answeredBoot(id string) (boot string, ok bool) {
	if !strings.Contains(id, ":") {
		return "", false
	}
	found := answerForm.FindStringSubmatch(id)
	if found == nil {
		return "", false
	}
	return found[1], true
}

// namesThisStart reports whether an ID can only have been made since the start of the
// agent: a part of it was drawn at random then.
func (m *Memory) namesThisStart(id string) bool { return strings.HasPrefix(id, m.boot+":") }
