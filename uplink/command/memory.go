package command

import (
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// Limits for each target.
	keptIDs = 64   // IDs of the last orders that were done
	maxIDs  = 1024 // the same with signed orders that have not expired; more orders are refused
	maxAsks = 64   // questions that wait for an answer
)

// A Memory remembers the orders that were done since the start of the agent, by target and
// ID, so that none is done twice. It lives longer than connections and configurations. It
// is not written to disk: [Checker.Check] describes the consequences.
type Memory struct {
	boot  string    // of this start of the agent, as in payloads
	began time.Time // when the agent started

	mu      sync.Mutex
	targets map[string]*targetMemory // guarded by mu
}

// A targetMemory is the memory of one target. Memory.mu guards it.
type targetMemory struct {
	done  map[string]*doneOrder // by ID
	order []*doneOrder          // the same, oldest first
	asks  map[string]time.Time  // questions that wait for an answer: ID and deadline
}

// A doneOrder is an order that must not be done again.
type doneOrder struct {
	id    string
	until time.Time // is kept at least until then; zero: only while it is one of the last keptIDs
	what  string    // the outcome, such as "done"; empty: not known yet
}

// NewMemory returns a Memory. A process makes one, when it starts.
func NewMemory(boot string) *Memory {
	return &Memory{boot: boot, began: time.Now(), targets: map[string]*targetMemory{}}
}

// ofLocked returns the memory of a target, and makes it if necessary. The caller holds mu.
func (m *Memory) ofLocked(target string) *targetMemory {
	t := m.targets[target]
	if t == nil {
		t = &targetMemory{done: map[string]*doneOrder{}, asks: map[string]time.Time{}}
		m.targets[target] = t
	}
	return t
}

// A claim is the result of claiming an ID: whether the order may be done.
type claim uint8

const (
	claimed      claim = iota // it may be done; only one caller gets this result for an ID
	wasDone                   // it was done before
	noRoom                    // too many orders are known that have not expired
	notAsked                  // it answers a question that was not asked, or it is too late
	earlierStart              // it answers a question of an earlier start of the agent
)

// claim claims the ID of an order that is going to be done. The ID is kept at least until
// a time; zero: while it is among the last ones. answers means that the target asks
// questions: then an ID with the boot of this start must be the ID of an open question.
func (m *Memory) claim(target, id string, until time.Time, answers bool) (c claim, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, now := m.ofLocked(target), time.Now()
	if known := t.done[id]; known != nil {
		return wasDone, known.what
	}
	switch boot, isAnswer := answeredBoot(id); {
	case isAnswer && boot != m.boot:
		return earlierStart, ""
	case isAnswer && answers && !now.Before(t.asks[id]):
		return notAsked, ""
	}
	if !t.makeRoom(now) {
		return noRoom, ""
	}
	t.add(&doneOrder{id: id, until: until})
	return claimed, ""
}

// makeRoom deletes orders that need not be kept. It reports whether there is room for
// another one.
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

// settle records the outcome of an order whose ID was claimed.
func (m *Memory) settle(target, id, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.ofLocked(target).done[id]; d != nil {
		d.what = what
	}
}

// Ask records a question that an order may answer until a time, as when a card was read.
// The ID is that of the reading: its boot, a colon and its seq. If maxAsks questions are
// open, the question is ignored.
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

// Decide records that the agent itself has decided a question, as by its list of cards. It
// reports false if an order has answered the question already or there is no room: then
// nothing may be done. An order that comes later is a duplicate.
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

// answerForm matches an ID that names a reading: the boot of a start of the agent and a seq.
var answerForm = regexp.MustCompile(`^([0-9]{1,20}-[0-9a-f]{8}):[0-9]{1,20}$`)

// answeredBoot returns the boot in an ID that names a reading: the start of the agent in
// which the question was asked.
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

// namesThisStart reports whether an ID begins with the boot of this start. Such an ID was
// made after the start, because the boot has random digits.
func (m *Memory) namesThisStart(id string) bool { return strings.HasPrefix(id, m.boot+":") }
