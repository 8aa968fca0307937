package main

import (
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

func arrived(topic, payload string) broker.Arrival {
	return broker.Arrival{Topic: topic, Payload: payload}
}

func TestTwoLevelsAreReadings(t *testing.T) {
	arrivals := []broker.Arrival{
		arrived("rig/agent/status", "online"),
		arrived("rig/door",
			`{"ts":1763640002123,"boot":"1-9f3c02ab","seq":7,"value":1,"state":"open","historical":true}`),
		arrived("rig/door/state", `{"ts":1763640002123,"boot":"1-9f3c02ab","seq":7,"value":1,"state":"open"}`),
		arrived("rig/room_humidity",
			`{"ts":1763640060123,"boot":"1-9f3c02ab","seq":42,"value":null,"error":"i2c-1 0x38: no acknowledge"}`),
	}
	all := readings(arrivals)
	if len(all) != 2 {
		t.Fatalf("readings %v, want two", all)
	}
	if door := all[0]; !door.is(1, 0) || door.State != "open" || !door.Historical || door.Boot != "1-9f3c02ab" {
		t.Errorf("door %+v", door)
	}
	if room := all[1]; !room.failed() || room.is(0, 100) {
		t.Errorf("a failed read is taken for a value: %+v", room)
	}
	if s := states(arrivals, "door"); len(s) != 1 || s[0].Historical {
		t.Errorf("states %v", s)
	}
}

func TestFaultsAreHolesAndLateFirstArrivals(t *testing.T) {
	r := func(boot string, seq uint64) reading { return reading{stream: "s", Boot: boot, Seq: seq} }
	for _, c := range []struct {
		name string
		all  []reading
		want string
	}{
		{"whole", []reading{r("a", 1), r("b", 1), r("a", 2)}, ""},
		{"again", []reading{r("a", 1), r("a", 2), r("a", 1), r("a", 2), r("a", 3)}, ""},
		{"hole", []reading{r("a", 1), r("a", 4)}, "a s: 2 to 3 did not come before 4"},
		{"no beginning", []reading{r("a", 2)}, "a s: 1 to 1 did not come before 2"},
		{"late", []reading{r("a", 2), r("a", 1)}, "a s: 1 to 1 did not come before 2; a s: 1 after 2"},
	} {
		if got := strings.Join(faults(first(c.all)), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
