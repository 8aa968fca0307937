package main

import (
	"fmt"
	"io"
)

// A report prints a line for each check, and counts them.
type report struct {
	out            io.Writer
	passed, failed int
}

// check prints whether a condition holds.
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

// note prints a fact that is no check.
func (r *report) note(format string, a ...any) {
	fmt.Fprintf(r.out, "     %s\n", fmt.Sprintf(format, a...))
}

// end prints the totals and returns the exit status.
func (r *report) end() int {
	fmt.Fprintf(r.out, "%d passed, %d failed\n", r.passed, r.failed)
	if r.failed > 0 {
		return 1
	}
	return 0
}
