package outputs

import (
	"slices"
	"sync"
)

// interlocks keep outputs apart of which no two may be on at a time, such as the two
// directions of a motor. It is safe for concurrent use: an output asks and is told in one
// step, so that of two orders at the same moment one is refused.
type interlocks struct {
	mu sync.Mutex
	of map[string]*interlock // by output; guarded by mu, and so is what it holds
}

// An interlock is what the others have to know of an output.
type interlock struct {
	with  []string
	state lockState
}

// A lockState is what is known of an output: anything but lockOff keeps the others off.
type lockState uint8

const (
	lockUnknown lockState = iota // it does not answer, or was not opened yet
	lockOff
	lockOn
)

// add makes an output known. Its state is not.
func (i *interlocks) add(name string, with []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.of == nil {
		i.of = map[string]*interlock{}
	}
	i.of[name] = &interlock{with: with}
}

// remove forgets an output.
func (i *interlocks) remove(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.of, name)
}

// set says what is known of an output.
func (i *interlocks) set(name string, state lockState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if lock := i.of[name]; lock != nil {
		lock.state = state
	}
}

// claim makes an output one that is on, before its line is. It says why it must not be:
// another one is on, or may be. An interlock that one of two names holds for both.
func (i *interlocks) claim(name string) (refused string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	mine := i.of[name]
	for other, lock := range i.of {
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
