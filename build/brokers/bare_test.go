package main

import (
	"strings"
	"testing"
)

func TestHolesAreCountedAndDuplicatesAreIgnored(t *testing.T) {
	for _, c := range []struct {
		payloads    []string
		missing, of int
	}{
		{nil, 0, 0},
		{[]string{"1", "2", "2", "3"}, 0, 3},
		{[]string{"2", "5", "4", "open"}, 1, 4},
	} {
		if missing, of := holes(c.payloads); missing != c.missing || of != c.of {
			t.Errorf("%q: %d of %d missing, want %d of %d", c.payloads, missing, of, c.missing, c.of)
		}
	}
}

func TestInvalidPlainValueIsFound(t *testing.T) {
	for payload, want := range map[string]bool{"hum 45": true, "door open": true, "door unavailable": false,
		`hum {"ts":1,"value":45}`: false, "status 45": false, "hum ": false} {
		stream, value, _ := strings.Cut(payload, " ")
		if got := isBare(stream, value); got != want {
			t.Errorf("%s: %v", payload, got)
		}
	}
}
