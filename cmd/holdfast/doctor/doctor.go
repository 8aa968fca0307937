// Package doctor checks everything that an agent needs. It reports what is broken and how
// to mend it.
//
// Each check is a value in a table ([Checks]): its name, what it looks at, and the faults
// that it can find. A fault has one line about what is wrong and one about the remedy;
// docs/doctor.md is generated from the same table. A check does not change the user's
// setup, and never ends the session of a running agent: it asks that agent through the
// control socket instead.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Level is the result of a check: the worst of its findings. A higher level is worse, so
// max combines levels.
type Level int

// The levels equal the exit statuses of the command.
const (
	OK Level = iota
	Warning
	Error
)

var levelNames = [...]string{"ok", "warning", "error"}

// String returns the word for a level in texts and in JSON. It panics for any other number.
func (l Level) String() string { return levelNames[l] }

// MarshalText writes a level as a word in JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// A Fault is one thing that can be wrong. Its texts are one line each, with placeholders in
// braces for what differs between machines: {folder}. Faults are package variables that
// never change: a test and the documentation iterate over all of them.
type Fault struct {
	Level Level
	What  string // what is wrong
	Mend  string // what a person can do about it
}

// at returns the fault with its placeholders replaced. The arguments are pairs of a
// placeholder's name and its text. All placeholders of both texts have to be given: others
// are printed unchanged. Each text is reduced to one line first, and placeholders inside it
// are not replaced.
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

// A Finding is a fault that a check has found, with all placeholders replaced. Its JSON is
// part of the output of --json.
type Finding struct {
	Level Level  `json:"level"`
	What  string `json:"what"`
	Mend  string `json:"mend"`

	fault *Fault
	about []string // the sensors, streams and outputs that the texts name
}

// A Check looks at one thing that the agent needs.
//
// run is called in its own goroutine and returns when its context ends, or soon after.
// Checks run one after the other, so run does not lock the Site; only a check that was
// abandoned after its time limit may still read it. AtStart is only for checks that are
// quick, send nothing, and leave no trace in a log.
type Check struct {
	Name    string
	Looks   string // what it looks at, for the user
	AtStart bool   // the agent also runs it, once, when it starts
	Faults  []*Fault

	skip func(*Site) string // why it cannot run; nil or "": it can
	run  func(context.Context, *Site) []Finding
}

// A Result is what one check found. The level of a skipped check is OK: the check that
// found the cause reports it.
type Result struct {
	Check    string    `json:"check"`
	Result   Level     `json:"result"`
	Looks    string    `json:"looks_at"`
	Skipped  string    `json:"skipped,omitempty"` // why it did not run
	Note     string    `json:"note,omitempty"`    // an observation that is no fault
	Findings []Finding `json:"findings,omitempty"`
}

// Checks returns all checks in the order in which they run: each check comes after those
// that it depends on. The caller owns the slice.
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

// maxCheck limits one check: a call may never return if the server of a network file system
// is gone or a driver hangs.
const maxCheck = 2 * time.Minute

// Any check can hang, so this fault is in no check's own list.
var checkHangs = &Fault{Error, "the check {name} did not return within {time}: the kernel or a disk hangs",
	"see dmesg for the device or the file system that does not answer; a restart frees it"}

// Run runs all checks and calls done after each of them, in the caller's goroutine, so that
// the user sees each line as soon as it is known. It ends early when ctx is done. It
// returns the worst level.
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

// result runs one check. A check that does not return within limit, or soon after the end
// of ctx, is abandoned: its goroutine ends with the program.
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
		r.Findings[i].What += s.titlesOf(f.about)
	}
	return r
}

// grace is how long a check has to return after its context has ended.
const grace = 3 * time.Second

// maxAtStart limits each check at the start of the agent. It is shorter than maxCheck,
// because these checks do not use the network.
const maxAtStart = 10 * time.Second

// AtStart runs the quick checks once, and returns one line for each finding, for the status
// page. report gets each finding, for the log; it is called in the caller's goroutine.
//
// AtStart blocks until all of these checks have ended, so the agent calls it in its own
// goroutine.
func AtStart(ctx context.Context, s *Site, report func(check string, f Finding)) (problems []string) {
	for _, c := range Checks() {
		if !c.AtStart || ctx.Err() != nil {
			continue
		}
		for _, f := range c.result(ctx, s, maxAtStart).Findings {
			if ctx.Err() != nil {
				break // the check was interrupted, which is no finding
			}
			report(c.Name, f)
			problems = append(problems, c.Name+": "+f.What)
		}
	}
	return problems
}

// oneLine removes line breaks and everything that moves a terminal's cursor: errors contain
// text from servers and drivers. It drops the control characters of ASCII and of Latin-1
// (ECMA-48, C0 and C1).
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0
	}), " ")
}
