package main

import (
	"io"
	"testing"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// TestHolesAreCounted: a hole is a number that neither arrived nor is in a gap of the same
// stream and start.
func TestHolesAreCounted(t *testing.T) {
	arrivals := []broker.Arrival{
		{Topic: "a/load", Payload: `{"boot":"1-0","seq":1}`},
		{Topic: "a/load", Payload: `{"boot":"1-0","seq":5}`},
		{Topic: "a/load", Payload: `{"boot":"1-0","seq":5}`},
		{Topic: "a/load/state", Payload: `{"boot":"1-0","seq":2}`},
		{Topic: "a/agent/event", Payload: `{"event":"gap","stream":"load","boot":"1-0","from":3,"to":3,"count":1}`},
		{Topic: "a/agent/event", Payload: `{"event":"gap","stream":"load","boot":"2-0","from":2,"to":9,"count":8}`},
		{Topic: "b/agent/event", Payload: `{"event":"gap","stream":"load","boot":"1-0","from":2,"to":9,"count":8}`},
	}
	if n := account(arrivals, io.Discard); n != 2 {
		t.Errorf("%d holes, want 2: the numbers 2 and 4", n)
	}
}

func TestGrowthIsSeen(t *testing.T) {
	u := usage{}
	for i := range 40 {
		u.rss, u.threads, u.files = append(u.rss, 8000+200*i), append(u.threads, 9), append(u.files, 12)
	}
	if u.report(io.Discard) {
		t.Error("RssAnon doubles, and is called flat")
	}
}
