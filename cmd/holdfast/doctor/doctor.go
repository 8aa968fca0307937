// Package doctor tries everything that an agent needs, and says what is broken
// and how to mend it.
//
// Each check is a value in a table ([Checks]): its name, what it looks at, and
// the faults that it can find. A fault has one line of what is wrong and one of
// how to mend it; docs/doctor.md is made from the same table. A check changes
// nothing that a person has set up, and never ends the session of an agent that
// runs: where there is one, it is asked through the control socket.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Level is the result of a check: the worst of what it found. A greater one is worse,
// so that max combines them.
type Level int

// The levels are in the order of the exit statuses that they stand for.
const (
	OK Level = iota
	Warning
	Error
)

var levelNames = [...]string{"ok", "warning", "error"}

// String is the word for a level in texts and in JSON. It panics for a number that is
// none of the three.
func (l Level) String() string { return levelNames[l] }

// MarshalText makes a level a word in JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// A Fault is one thing that can be wrong. Its texts are one line each, and have
// placeholders in braces for what differs between machines: {folder}. Faults are
// package variables and never changed: a test and the documentation go through all of
// them.
type Fault struct {
	Level Level
	What  string // what is wrong
	Mend  string // what a person can do about it
}

// at is the fault at a place. The arguments are pairs of a placeholder's name and the
// text that stands there. Every placeholder of both texts has to be in pairs, or it is
// printed as it is. Text that came from elsewhere is made one line first, and
// placeholders in it are not replaced.
func (f *Fault) at(pairs ...any) Finding {
	words := make([]string, len(pairs))
	for i, p := range pairs {
		if words[i] = oneLine(fmt.Sprint(p)); i%2 == 0 {
			words[i] = "{" + words[i] + "}"
		}
	}
	fill := strings.NewReplacer(words...)
	found := Finding{Level: f.Level, What: fill.Replace(f.What), Mend: fill.Replace(f.Mend), fault: f}
	for i := 0; i+1 < len(words); i += 2 {
		switch words[i] {
		case "{sensor}", "{sensors}", "{stream}", "{output}", "{outputs}":
			found.about = append(found.about, strings.Split(words[i+1], ", ")...)
		}
	}
	return found
}

// A Finding is a fault that a check has found. Its texts have no placeholders any more.
// The keys of JSON are those of --json.
type Finding struct {
	Level Level  `json:"level"`
	What  string `json:"what"`
	Mend  string `json:"mend"`

	fault *Fault
	about []string // the sensors, streams and outputs that it names
}

// A Check looks at one thing that the agent needs.
//
// run is called in a goroutine of its own and returns when its context ends, or soon
// after. It has the Site for itself, as checks run one after the other; one that was
// left behind may still read it. AtStart is only for checks that send nothing, leave no
// trace in a log and are quick.
type Check struct {
	Name    string
	Looks   string // at what, for a person
	AtStart bool   // it is quick and quiet: the agent runs it once when it starts
	Faults  []*Fault

	skip func(*Site) string // why it cannot be tried; nil or "": it can
	run  func(context.Context, *Site) []Finding
}

// A Result is what a check found. Result is OK for a check that was skipped: what
// stopped it is a finding of another one.
type Result struct {
	Check    string    `json:"check"`
	Result   Level     `json:"result"`
	Looks    string    `json:"looks_at"`
	Skipped  string    `json:"skipped,omitempty"` // why it was not tried
	Note     string    `json:"note,omitempty"`    // what it saw that is no fault
	Findings []Finding `json:"findings,omitempty"`
}

// Checks are all checks, in the order in which they run: what a later one needs has
// been looked at before. The slice is the caller's.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{
		fileChecks, agentChecks, deviceChecks, queueChecks, clockChecks, networkChecks, boardChecks,
		outputChecks,
	} {
		all = append(all, group...)
	}
	return all
}

// maxCheck bounds one check: a file system of a server that is gone, or a driver
// that hangs, does not come back.
const maxCheck = 2 * time.Minute

// It is in no check's list of faults, as any check can hang.
var checkHangs = &Fault{Error, "the check {name} has not come back in {time}: the kernel or a disk hangs",
	"see dmesg for the device or the file system that does not answer; a restart frees it"}

// Run runs all checks, and calls done after each. It ends early when ctx is done. done
// is called from this goroutine, as soon as a check has ended: a person sees each line
// when it is known.
func Run(ctx context.Context, s *Site, done func(Result)) (worst Level) {
	for _, c := range Checks() {
		if ctx.Err() != nil {
			break
		}
		r := c.result(ctx, s, maxCheck)
		worst = max(worst, r.Result)
		done(r)
	}
	return worst
}

// result runs one check. One that does not come back in time is left behind with its
// goroutine, which ends with the program. limit bounds the check; a context of the
// caller that ends has the same effect.
func (c Check) result(ctx context.Context, s *Site, limit time.Duration) Result {
	r := Result{Check: c.Name, Looks: c.Looks}
	if c.skip != nil {
		if r.Skipped = c.skip(s); r.Skipped != "" {
			return r
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.notes = nil
	found := make(chan []Finding, 1)
	go func() { found <- c.run(ctx, s) }()
	select {
	case r.Findings = <-found:
		r.Note = strings.Join(s.notes, "; ")
	case <-ctx.Done():
		select {
		case r.Findings = <-found:
		case <-time.After(grace):
			r.Findings = []Finding{checkHangs.at("name", c.Name, "time", limit)}
		}
	}
	for i, f := range r.Findings {
		r.Result = max(r.Result, f.Level)
		r.Findings[i].What += s.called(f.about)
	}
	return r
}

// grace is how long a check has to return after its context has ended.
const grace = 3 * time.Second

// maxAtStart bounds each check at the start of the agent. It is shorter than maxCheck,
// as these checks do not wait for a network.
const maxAtStart = 10 * time.Second

// AtStart runs the quick checks once, one line of what is wrong for each finding.
// report is told each finding, for the log; it is called from this goroutine.
//
// The problems are for the status page. It blocks until all of these checks have ended,
// so the agent calls it from a goroutine of its own.
func AtStart(ctx context.Context, s *Site, report func(check string, f Finding)) (problems []string) {
	for _, c := range Checks() {
		if !c.AtStart || ctx.Err() != nil {
			continue
		}
		for _, f := range c.result(ctx, s, maxAtStart).Findings {
			if ctx.Err() != nil {
				break // it was cut short, which is no finding
			}
			report(c.Name, f)
			problems = append(problems, c.Name+": "+f.What)
		}
	}
	return problems
}

// oneLine is a text without line breaks and without what moves a terminal's cursor:
// errors hold what servers and drivers wrote. It drops the control characters of ASCII
// and of Latin-1 (ECMA-48, C0 and C1).
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0
	}), " ")
}
