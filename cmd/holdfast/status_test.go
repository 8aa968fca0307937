package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

// outage is a node with a fault, a backlog, and text from elsewhere.
func outage() status.Snapshot {
	value, nan := 45.2, float32(math.NaN())
	return status.Snapshot{
		Time: 1_000_000,
		Node: status.Node{ClientID: "porch", Version: "1.2.3", Boot: "7-0badcafe", Started: 1_000_000 - 90_061_000},
		Link: status.Link{Server: "broker:8883", Since: 400_000, NextTry: 1_005_000,
			Unheard: map[string]uint64{"room": 40, "door": 2},
			Error:   "connection lost: \x1b[2J", ErrorAt: 940_000},
		Queue: status.Queue{Backlog: 1234, Oldest: 600, Left: -1, Dropped: 5, Missing: 7,
			WrittenToday: 3 << 20, CommitsToday: 12},
		Clock: status.Clock{Quality: "unsynced"},
		Streams: []status.Stream{
			{Name: "room", Unit: "%", Value: &value, At: 999_000,
				History: &status.History{Step: 40, Values: []float32{1, 2, 3, nan, nan, nan, 8, 9, 10}}},
			{Name: "door", Error: "gpiochip0: line 17 is held", At: 700_000},
			{Name: "cellar"},
		},
		Events: []status.Event{{At: 900_000, Name: "fault",
			Details: json.RawMessage(`{"stream":"door","failures":3}`)}},
		Problems: []string{"The clock is unsynced: times may be wrong."},
	}
}

// alarmed is the outage at a node with a triggered alarm panel.
func alarmed() status.Snapshot {
	s, one := outage(), 1.0
	s.Streams = append(s.Streams, status.Stream{Name: "siren", Value: &one, State: "on", At: 991_000},
		status.Stream{Name: "alarm", Value: &one, State: "triggered", At: 991_000})
	s.Arming = &status.Arming{State: "triggered", By: "front_door", Since: 991_000, Until: 1_171_000,
		Open: []string{"front_door"}, Bypass: []string{"hall", "attic"}, LockedUntil: 1_048_000}
	s.Outputs = []status.Output{
		{Name: "siren", Class: "siren", State: status.On, By: "rule:intruder", Since: 991_000, Until: 1_170_500},
		{Name: "pump", State: status.Off, By: "max_on", Since: 940_000, RestUntil: 1_120_000},
		{Name: "valve", State: status.Unknown, Error: "i2c-1 0x20: no \x1backnowledge", Since: 997_000},
		{Name: "gate", State: status.Off},
	}
	return s
}

func TestStatusTextShowsOutputs(t *testing.T) {
	text := statusText(alarmed(), false)
	for _, want := range []string{
		"porch  the alarm is triggered\n",
		"  alarm     triggered for 9 s, by front_door, changes in 2 min 51 s\n",
		"            not ready: front_door\n", "            left out: hall, attic\n",
		"            codes are refused for another 48 s\n",
		"\n\n  OUTPUT  STATE    AGE        WHY\n",
		"  siren   on       9 s        by rule:intruder, for another 2 min 51 s\n",
		"  pump    off      1 min 0 s  by max_on, rests for another 2 min 0 s\n",
		`  valve   unknown  3 s        fault: i2c-1 0x20: no \u001backnowledge` + "\n",
		"  gate    off      -\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Count(text, "siren") != 1 {
		t.Errorf("the siren stands among the sensors, too:\n%s", text)
	}
	s := alarmed()
	s.Arming, s.Link.Connected = nil, true
	if word, good := worst(s); word != "the state of 1 of 4 outputs is unknown" || good {
		t.Errorf("headed %q, %v", word, good)
	}
}

func TestStatusTextShowsProblems(t *testing.T) {
	text := statusText(outage(), false)
	for _, want := range []string{
		"  unheard   42 that nobody has subscribed to, of door, room\n",
		"porch  not connected\n", "up 1 d 1 h", "not connected to broker:8883 for 10 min 0 s, next try in 5 s\n",
		`last error 1 min 0 s ago: connection lost: \u001b[2J` + "\n",
		"1234, the oldest 10 min 0 s old\n", "5 dropped, 7 missing", "3.0 MiB written today in 12 commits",
		"unsynced: no time source confirms it", "! The clock is unsynced",
		"room    45.2 %  1 s        ▃▃█\n", "door    -       5 min 0 s  fault: gpiochip0: line 17 is held\n",
		"cellar  -       -\n", "fault         failures=3, stream=door\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("there are colours where none are wanted, or a terminal is told what a broker says")
	}
}

func TestStatusTextHasColours(t *testing.T) {
	text := statusText(outage(), true)
	if !strings.Contains(text, "\x1b[31mnot connected\x1b[0m") || !strings.Contains(text, "\x1b[31m  door ") {
		t.Errorf("no colours in\n%q", text)
	}
	if strings.Contains(text, "\x1b[2J") {
		t.Error("the terminal is told what a broker says")
	}
}

func TestStatusTextShowsTheRemainingTime(t *testing.T) {
	s := outage()
	s.Link.Connected, s.Queue.Rate, s.Queue.Left = true, 250, 4.9
	text := statusText(s, false)
	if !strings.Contains(text, "1234, the oldest 10 min 0 s old, 250.0 a second, 4 s left\n") {
		t.Errorf("%s", text)
	}
}

// TestStatusTextHasDisplayNames in columns that are aligned on a terminal, in any script.
// Without any display name there is no such column.
func TestStatusTextHasDisplayNames(t *testing.T) {
	if text := statusText(alarmed(), false); strings.Contains(text, "NAME") {
		t.Errorf("a column of names without names:\n%s", text)
	}
	s := alarmed()
	s.Node.Title, s.Node.Area = "厨房", "1階"
	s.Streams[0].Title, s.Streams[0].Area = "湿度", "台所"
	s.Streams[1].Title = "Haustür 🚪"
	s.Streams[2].Area = "Keller\x1b[2J"
	s.Streams = append(s.Streams, status.Stream{Name: "hall", Title: "Flur"})
	s.Outputs[0].Title = "آژیر"
	text := statusText(s, false)
	for _, want := range []string{
		"厨房 (porch)  the alarm is triggered\n1階, holdfast 1.2.3, ",
		"            left out: Flur, attic\n",
		"  OUTPUT  NAME  STATE    AGE        WHY\n",
		"  siren   آژیر  on       9 s        by rule:intruder, for another 2 min 51 s\n",
		"  pump          off      1 min 0 s  by max_on, rests for another 2 min 0 s\n",
		"  STREAM  NAME             VALUE   AGE        LAST HOUR\n",
		"  room    湿度, 台所       45.2 %  1 s        ",
		"  door    Haustür 🚪       -       5 min 0 s  fault: gpiochip0: line 17 is held\n",
		"  cellar  Keller\\u001b[2J  -       -\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}
