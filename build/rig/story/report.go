package main

import (
	"fmt"
	"io"
)

// A report is what a person reads: a line for each claim, and a count.
type report struct {
	out            io.Writer
	passed, failed int
}

// check states a claim that held or did not.
func (r *report) check(held bool, format string, a ...any) {
	word := "ok  "
	if held {
		r.passed++
	} else {
		word = "FAIL"
		r.failed++
	}
	fmt.Fprintf(r.out, "%s %s\n", word, fmt.Sprintf(format, a...))
}

// note states a fact that is neither.
func (r *report) note(format string, a ...any) {
	fmt.Fprintf(r.out, "     %s\n", fmt.Sprintf(format, a...))
}

// end prints the last line and returns the exit status.
func (r *report) end() int {
	fmt.Fprintf(r.out, "%d passed, %d failed\n", r.passed, r.failed)
	if r.failed > 0 {
		return 1
	}
	return 0
}
