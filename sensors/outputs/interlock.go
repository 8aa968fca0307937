package outputs

import (
	"slices"
	"sync"
)

// interlocks prevent that two outputs are on at the same time that must not be, such as the
// two directions of a motor. It is safe for concurrent use: claim checks and changes the
// state in one step, so that of two orders at the same moment one is refused.
type interlocks struct {
	mu       sync.Mutex
	byOutput map[string]*interlock // by the output's name; mu guards the map and the interlocks
}

// An interlock is the state of one output for the others.
type interlock struct {
	with  []string // the outputs that its configuration names
	state lockState
}

// A lockState is the known state of an output. Every state but lockOff keeps the other
// outputs off.
type lockState uint8

const (
	lockUnknown lockState = iota // it does not answer, or was not opened yet
	lockOff
	lockOn
)

// add adds an output, with an unknown state.
func (i *interlocks) add(name string, with []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.byOutput == nil {
		i.byOutput = map[string]*interlock{}
	}
	i.byOutput[name] = &interlock{with: with}
}

// remove forgets an output.
func (i *interlocks) remove(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.byOutput, name)
}

// set sets the state of an output, if it is known.
func (i *interlocks) set(name string, state lockState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if lock := i.byOutput[name]; lock != nil {
		lock.state = state
	}
}

// claim sets the state of an output to lockOn. It has to be called before the line is
// switched on. It returns why the output must not be on: another one is on or may be on. An
// interlock holds for both outputs, also if only one of them names the other.
func (i *interlocks) claim(name string) (refused string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	mine := i.byOutput[name]
	for other, lock := range i.byOutput {
		if other == name || !slices.Contains(mine.with, other) && !slices.Contains(lock.with, name) {
			continue
		}
		switch lock.state {
		case lockOn:
			return "interlock: " + other + " is on"
		case lockUnknown:
			return "interlock: " + other + " is not known to be off"
		}
	}
	mine.state = lockOn
	return ""
}
