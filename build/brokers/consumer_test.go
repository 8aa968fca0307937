package main

import (
	"maps"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestConsumerOutputIsParsed(t *testing.T) {
	c := newConsumer("test")
	c.out.Write([]byte(`porch door {"boot":"1-a","seq":2,"state":"wide open"}
porch door no JSON
Watching for file changes
porch door {"boot":"1-a","se`)) // and just now it is killed
	if want := map[key]bool{{"porch/door", "1-a", 2}: true}; !maps.Equal(c.got(), want) {
		t.Errorf("got %v, want %v", c.got(), want)
	}
}

func TestMissingCountsOnlyExpectedReadings(t *testing.T) {
	one, two, other := key{"a/b", "1", 1}, key{"a/b", "1", 2}, key{"a/c", "1", 1}
	if n := missing(map[key]bool{one: true, two: true}, map[key]bool{one: true, other: true}); n != 1 {
		t.Errorf("%d missing, want 1", n)
	}
}

func TestConsumerIsRestarted(t *testing.T) {
	c := newConsumer("test")
	c.keep(t.Context(), func(...string) *exec.Cmd { return exec.Command("echo", "here") })
	defer c.close()
	err := eventually(t.Context(), time.Minute, "started again", func() bool {
		return strings.Count(c.out.String(), "here") > 1
	})
	if err != nil {
		t.Error(err)
	}
}
