package payload

import (
	"strings"
	"testing"
)

// TestExpandReplacesEachPlaceOnce: what a name contains is not replaced again, and what only
// looks like a place stays.
func TestExpandReplacesEachPlaceOnce(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                           "",
		"{client_id}/{stream}/state": "{stream}/{client_id}/state",
		"a/{stream}{stream}":         "a/{client_id}{client_id}",
		"{{stream}}/{client_id":      "{{client_id}}/{client_id",
		"{":                          "{",
		"plain":                      "plain",
		"{Stream}/{stream}/{}":       "{Stream}/{client_id}/{}",
	} {
		if got := Expand(pattern, "{stream}", "{client_id}"); got != want {
			t.Errorf("%s: %s, want %s", pattern, got, want)
		}
	}
}

// FuzzExpand compares it with the replacer of the standard library.
func FuzzExpand(f *testing.F) {
	f.Add(DefaultPatterns.State, "porch", "room")
	f.Add("{{stream}{client_id}", "{", "}")
	f.Add("{client_id}"+strings.Repeat("/{stream}", 50), "a", "b")
	f.Fuzz(func(t *testing.T, pattern, clientID, stream string) {
		want := strings.NewReplacer("{client_id}", clientID, "{stream}", stream).Replace(pattern)
		if got := Expand(pattern, clientID, stream); got != want {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	})
}

// TestATopicIsAllThatExpandAllocates, also for a stream that is not configured any more.
func TestATopicIsAllThatExpandAllocates(t *testing.T) {
	names := NewTopics("porch", DefaultPatterns, nil)
	if n := testing.AllocsPerRun(100, func() { names.State("room") }); n > 1 {
		t.Errorf("%v allocations a topic, want one", n)
	}
}
