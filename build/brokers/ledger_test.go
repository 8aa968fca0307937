package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// tape is a recorder with given arrivals.
type tape []broker.Arrival

func (p *tape) Arrivals() []broker.Arrival { return *p }

// doors adds arrivals on porch/load: "A1" is number 1 of the start A.
func (p *tape) doors(words string) *tape {
	for _, w := range strings.Fields(words) {
		*p = append(*p, broker.Arrival{Topic: "porch/load", Payload: fmt.Sprintf(`{"boot":%q,"seq":%s}`, w[:1], w[1:]),
			At: time.Now()})
	}
	return p
}

func TestTallyCountsDuplicatesLossesAndDisorder(t *testing.T) {
	for words, want := range map[string]string{
		"A1 A2 A3":       "3 0 0 0",
		"A1 A2 A2 A1 A3": "3 2 0 0", // messages that are sent again may repeat their order
		"A1 A4":          "2 0 2 0",
		"A1 A3 A2":       "3 0 0 1",
		"A1 A2 B1 B2":    "4 0 0 0", // numbers start at 1 with each start
		"B2 A1":          "2 0 1 0",
		"":               "0 0 0 0",
	} {
		got := newLedger(new(tape).doors(words)).count("porch")
		if s := fmt.Sprint(got.first, got.twice, len(got.lost), len(got.disorder)); s != want {
			t.Errorf("%q: first, twice, lost, disorder %s, want %s", words, s, want)
		}
	}
}

func TestUnacknowledgedLossIsAnError(t *testing.T) {
	tally := newLedger(new(tape).doors("A1 A4")).count("porch")
	second := key{"porch/load", "A", 2}
	if err := tally.wrong(func(k key) bool {
		return k == second
	}); err == nil || !strings.Contains(err.Error(), "A: 3 never arrived") {
		t.Errorf("error %v, want one that names 3 alone", err)
	}
	if err := tally.wrong(func(key) bool { return true }); err != nil {
		t.Errorf("all acknowledged: %v", err)
	}
}

func TestDisorderIsAnError(t *testing.T) {
	tally := newLedger(new(tape).doors("A2 A1")).count("porch")
	if err := tally.wrong(func(key) bool {
		return true
	}); err == nil || !strings.Contains(err.Error(), "1 first arrives after 2") {
		t.Errorf("error %v, want one that names the disorder", err)
	}
}

func TestLedgerAddsLaterArrivals(t *testing.T) {
	p := new(tape).doors("A1")
	l := newLedger(p)
	if n := len(l.on("porch/load")); n != 1 {
		t.Fatalf("%d arrivals, want 1", n)
	}
	*p = append(*p.doors("A2"), broker.Arrival{Topic: "porch/agent/status", Payload: "offline"})
	if n := len(l.on("porch/load")); n != 2 || l.payload("porch/agent/status") != "offline" {
		t.Errorf("%d arrivals, status %q", n, l.payload("porch/agent/status"))
	}
}

func TestLiveReadingsArriveWithoutDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now()
		for name, c := range map[string]struct {
			taken, arrived time.Duration // ago, five seconds after since
			want           bool
		}{
			"at once":            {time.Second, time.Second, true},
			"from the backlog":   {4 * time.Second, time.Second, false},
			"nothing since long": {4 * time.Second, 4 * time.Second, false},
			"of before":          {6 * time.Second, time.Second, false},
		} {
			now := since.Add(5 * time.Second)
			time.Sleep(time.Until(now)) // of the bubble
			p := &tape{{Topic: "porch/load", At: now.Add(-c.arrived),
				Payload: fmt.Sprintf(`{"ts":%d}`, now.Add(-c.taken).UnixMilli())}}
			if got := newLedger(p).live("porch/load", since); got != c.want {
				t.Errorf("%s: live %v, want %v", name, got, c.want)
			}
		}
	})
}
