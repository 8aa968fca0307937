package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-iot/holdfast/build/powercut/promise"
)

// maxShown limits the failures that are printed, and the violations of each.
const maxShown, maxOfOne = 40, 3

// maxOfBatch limits the printed failures of one recording, because they often have the same
// cause.
const maxOfBatch = 2

// A tally counts what passed and what failed.
type tally struct {
	mu             sync.Mutex
	passed, failed int
	sorts          map[promise.Sort]int // number of cases by kind of violation
	expected       int                  // readings that must exist, over all cases
	loud           bool                 // print failures
	shown          int
}

func newTally() *tally { return &tally{sorts: map[promise.Sort]int{}} }

// one counts a case with a number of readings that must exist. again is the command that
// repeats the case; if it is empty, nothing is printed.
func (t *tally) one(found []promise.Violation, expected int, again string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expected += expected
	if len(found) == 0 {
		t.passed++
		return
	}
	t.failed++
	sorts := map[promise.Sort]bool{}
	for _, b := range found {
		sorts[b.Sort] = true
	}
	for s := range sorts {
		t.sorts[s]++
	}
	if !t.loud || again == "" || t.shown == maxShown {
		return
	}
	t.shown++
	fmt.Printf("FAIL %s\n", again)
	for _, b := range found[:min(len(found), maxOfOne)] {
		fmt.Printf("     %s\n", b)
	}
	if more := len(found) - maxOfOne; more > 0 {
		fmt.Printf("     and %d more\n", more)
	}
}

func (t *tally) add(o *tally) {
	t.passed += o.passed
	t.failed += o.failed
}

func (t *tally) lost() int { return t.sorts[promise.Lost] }

// summary is the number of cases for each kind of violation.
func (t *tally) summary() string {
	if len(t.sorts) == 0 {
		return ""
	}
	var parts []string
	for _, s := range slices.Sorted(maps.Keys(t.sorts)) {
		parts = append(parts, fmt.Sprintf("%s %d", s, t.sorts[s]))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
