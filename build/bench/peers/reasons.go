package main

import (
	"fmt"
	"slices"
	"strings"
)

// A reason explains why some peers may be better than holdfast.
type reason struct {
	peers []string // empty: all others
	why   string
}

var (
	inMemoryOnly = []string{"minimal", "halves", "paho"}
	noLibrary    = []string{"minimal", "halves", "ring"}
)

// reasons are the reasons for each figure. The last one of each figure is for all peers
// that the others do not name.
var reasons = map[string][]reason{
	"bytes on flash for each reading": {
		{[]string{"bridge"}, "it keeps readings in memory for half an hour, and `kill -9` takes them all"},
		{nil, "it writes nothing but readings: no index, and no copy of its root"},
	},
	"lost by `kill -9`": {{nil, "it hands each reading to the kernel before it accepts it, by a write for each. " +
		"holdfast keeps routine readings in memory for `sync_every`, 5 s, to spare the flash; alarms are written " +
		"at once"}},
	"twice": {{nil, "it removes each reading by a write of its own; holdfast notes once in a while what arrived"}},
	"taken in, readings/s": {
		{inMemoryOnly, "it appends a payload that is made already to a slice, and a power cut takes all"},
		{nil, "it hands a payload that is made already to the page cache, and does not wait for the disk"},
	},
	"first reading after, s": {{nil, "it tries each second or more often, whoever else does. holdfast takes a turn " +
		"within `mqtt.reconnect.within`, 5 s, so that a fleet does not come back at once"}},
	"drained, readings/s": {
		{noLibrary, "it sends payloads that are made already, and nothing else. holdfast decodes each reading from its " +
			"queue, asks what time it was, makes the payload, and watches whether the link queues"},
		{[]string{"bridge"}, "it is written in C, and sends what it has in memory"},
		{nil, "it sends payloads that are made already; holdfast makes them from its queue, and watches whether the link " +
			"queues"},
	},
	"CPU, µs a reading": {
		{noLibrary, "as before: payloads that are made already, no lanes, no proof of delivery, no library"},
		{[]string{"bridge"}, "as before: it is written in C, and sends what it has in memory"},
		{nil, "as before: payloads that are made already"},
	},
	"memory, MB": {
		{[]string{"bridge"}, "it has no garbage collector"},
		{noLibrary, "it has no library, no database and no state of a session"},
		{nil, "it has no database and no window that watches the link"},
	},
	"start to first reading, ms": {
		{[]string{"bridge", "bridge1"}, "it is written in C, and takes its first reading from a process that waits for it"},
		{nil, "it checks no file, and publishes without a proof that it may"},
	},
	"memory after the large burst, MB": {{nil, "it keeps nothing but positions in its file"}},
}

// losses prints which peers are better in a figure, and why, one line for each reason.
func losses(b *strings.Builder, f figure, ahead []string) {
	for _, r := range reasons[f.name] {
		var named []string
		ahead = slices.DeleteFunc(ahead, func(peer string) bool {
			applies := len(r.peers) == 0 || slices.Contains(r.peers, peer)
			if applies {
				named = append(named, peer)
			}
			return applies
		})
		if len(named) > 0 {
			fmt.Fprintf(b, "- %s: %s. Why: %s.\n", f.name, strings.Join(named, ", "), r.why)
		}
	}
	if len(ahead) > 0 {
		fmt.Fprintf(b, "- %s: %s. Why: not known.\n", f.name, strings.Join(ahead, ", "))
	}
}
