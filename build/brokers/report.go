package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/holdfast-iot/holdfast/build/rig/rawmqtt"
)

// A cell is the result of a case on a broker.
type cell struct {
	held bool
	why  string // the reason of a failure
}

// A report prints a line for each check, and has the counts and the tables.
type report struct {
	mu             sync.Mutex
	out            io.Writer
	passed, failed int
	versions       map[string]string
	missing        map[string]error           // brokers that could not be run
	cells          map[string]map[string]cell // by broker and case
	facts          map[string][]string        // by broker, in sentences
	answers        map[asked][]string
}

// asked is a row of the table of answers.
type asked struct {
	broker  string
	version rawmqtt.Version
}

func newReport(out io.Writer) *report {
	return &report{
		out: out, versions: map[string]string{}, missing: map[string]error{},
		cells: map[string]map[string]cell{}, facts: map[string][]string{},
		answers: map[asked][]string{},
	}
}

// check prints whether a condition holds.
func (r *report) check(held bool, format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkLocked(held, format, a...)
}

func (r *report) checkLocked(held bool, format string, a ...any) {
	word := "ok  "
	if held {
		r.passed++
	} else {
		word = "FAIL"
		r.failed++
	}
	fmt.Fprintf(r.out, "%s %s\n", word, fmt.Sprintf(format, a...))
}

// broker adds the version of a broker that is run.
func (r *report) broker(k *kind, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.versions[k.name] = version
}

// absent reports that a broker or another part is missing; if it is required, that is a
// failure.
func (r *report) absent(name string, why error, must bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missing[name] = why
	if must {
		r.checkLocked(false, "%s is there: %v", name, why)
		return
	}
	fmt.Fprintf(r.out, "     %s is not run: %v\n", name, why)
}

// tell adds the result of a case on a broker, and returns whether it passed.
func (r *report) tell(broker, name, remark string, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cells[broker] == nil {
		r.cells[broker] = map[string]cell{}
	}
	if err == nil {
		r.cells[broker][name] = cell{held: true}
	} else {
		r.cells[broker][name] = cell{why: firstLine(err)}
	}
	switch {
	case err != nil:
		r.checkLocked(false, "%s: %s: %v", broker, name, err)
	case remark != "":
		r.checkLocked(true, "%s: %s: %s", broker, name, remark)
	default:
		r.checkLocked(true, "%s: %s", broker, name)
	}
	return err == nil
}

// firstLine omits the end of the log in an error.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// fact adds a sentence about a broker that the run has shown.
func (r *report) fact(broker, format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts[broker] = append(r.facts[broker], fmt.Sprintf(format, a...))
}

// failedAt returns whether a case has failed on a broker.
func (r *report) failedAt(broker, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.cells[broker][name]
	return ok && !c.held
}

// end prints the totals and returns the exit status.
func (r *report) end() int {
	fmt.Fprintf(r.out, "%d passed, %d failed\n", r.passed, r.failed)
	if r.failed > 0 || r.passed == 0 {
		return 1
	}
	return 0
}
