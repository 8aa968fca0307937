package main

import (
	"os"
	"testing"
)

// minutesLong marks a test that takes a minute or more of real time. build/prove runs all
// of them; build/test runs those of the core promises.
func minutesLong(t *testing.T, core bool) {
	t.Helper()
	if testing.Short() || !core && os.Getenv("HOLDFAST_PROVE") == "" {
		t.Skip("takes a minute of real time: build/prove runs it")
	}
}

// takesLong skips, with -short, a test that waits for more than ten seconds of real time.
func takesLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("waits for more than ten seconds: not with -short")
	}
}
