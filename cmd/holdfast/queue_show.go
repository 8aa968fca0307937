package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// queueStats is the output of `queue stats --json`. It has more fields than other types
// because it is one JSON object whose keys scripts read, and grouping the fields would move
// the keys.
//
// One goroutine fills it: add counts items, total the rest.
type queueStats struct {
	File      string          `json:"file"`       // path
	ClientID  string          `json:"client_id"`  // "": a file of an older agent
	Alarms    int             `json:"alarms"`     // readings and events that wait
	Routine   int             `json:"routine"`    // readings that wait
	Events    int             `json:"events"`     // part of the alarms
	Streams   map[string]int  `json:"streams"`    // readings that wait
	Oldest    *int64          `json:"oldest"`     // ms since 1970; null: nothing waits
	Newest    *int64          `json:"newest"`     // the same
	Rejected  int             `json:"aside"`      // readings and events that the broker refuses: not among those that wait
	Gaps      int             `json:"gaps"`       // declared and not delivered yet
	Missing   uint64          `json:"missing"`    // readings in the gaps
	Damaged   int             `json:"damaged"`    // blocks that fail their checksums
	Bytes     int64           `json:"bytes"`      // of blocks
	FileBytes int64           `json:"file_bytes"` // of the file; it does not shrink
	Others    []otherBacklog  `json:"others"`     // never null
	Agent     *control.Answer `json:"agent"`      // null: it does not run
}

// otherBacklog is a backlog of another client ID that was moved aside. It is not sent until
// it is adopted, and is not part of the numbers of queueStats.
type otherBacklog struct {
	ClientID string `json:"client_id"` // the other one
	File     string `json:"file"`      // path
	Since    int64  `json:"since"`     // ms since 1970
}

// add counts an item that waits. total counts rejected items and gaps. The oldest and the
// newest are by the stored time, which may be an estimate: see clock.Stamp. It never
// returns an error, so the whole file is counted.
func (t *queueStats) add(it queue.Item) error {
	if it.IsRejected() {
		return nil
	}
	// Events have no stream, and total counts gaps.
	if it.Event == "" {
		t.Streams[it.Stream]++
	} else {
		t.Events++
	}
	if at := it.At.Unix; t.Oldest == nil {
		t.Oldest, t.Newest = &at, &at
	} else if at < *t.Oldest {
		t.Oldest = &at
	} else if at > *t.Newest {
		t.Newest = &at
	}
	return nil
}

// total counts what is on disk. A running agent may have more in memory, and may have sent
// some of it since its last commit. After an error t has what could be counted.
func (s *queueCmd) total() (t queueStats, err error) {
	t.Streams = map[string]int{}
	c, err := s.inspect(t.add) // after an error c has what could be counted
	t.File, t.Alarms, t.Routine, t.Gaps = s.path, c.Alarms, c.Routine, len(c.Gaps)
	t.Rejected, t.Damaged, t.Bytes, t.FileBytes = c.Rejected, c.Damaged, c.Bytes, c.File
	// Others is not nil, so that JSON has [] instead of null.
	t.ClientID, t.Others = c.ClientID, []otherBacklog{}
	for _, g := range c.Gaps {
		t.Missing += g.Count
	}
	for _, o := range queue.Others(s.path) {
		t.Others = append(t.Others, otherBacklog{o.ClientID, o.Path, o.Since.UnixMilli()})
	}
	return t, err
}

// stats prints what waits on disk, and the agent's answer if it runs: only the agent knows
// what is in its memory. If a running agent cannot be asked that is a warning, because the
// numbers of the file are correct.
func (s *queueCmd) stats() error {
	t, err := s.total()
	if err != nil {
		return err
	}
	// Without an agent the file is the whole answer: that is no error.
	switch a, err := control.Ask(s.opt.Path, control.Stats); {
	case err == nil:
		t.Agent = &a
	case !errors.Is(err, control.ErrNotRunning):
		fmt.Fprintln(stderr, "holdfast:", err)
	}
	// JSON output is exactly one object.
	if s.json {
		return json.NewEncoder(stdout).Encode(t)
	}
	// The file is larger than its blocks: it does not shrink when readings are delivered.
	fmt.Fprintf(stdout, "%-10s %s, %s of blocks in %s\n", "file", t.File, sizeText(t.Bytes), sizeText(t.FileBytes))
	t.print()
	if t.Damaged > 0 {
		fmt.Fprintf(stdout, "%-10s %d blocks fail their checksums and are passed over\n", "damaged", t.Damaged)
	}
	if a := t.Agent; a != nil {
		fmt.Fprintf(stdout, "%-10s runs: process %d, start %s\n", "agent", a.PID, oneLine(a.Boot))
		fmt.Fprintf(stdout, "%-10s %d wait, %d of them in memory alone; %d dropped since the start\n",
			"", a.Backlog, a.Memory, a.Dropped)
		fmt.Fprintf(stdout, "%-10s %s in %d commits, today %s in %d\n",
			"written", sizeText(a.Written), a.Commits, sizeText(a.WrittenToday), a.CommitsToday)
		if a.Failing {
			fmt.Fprintf(stdout, "%-10s the last commit failed, or hangs: the agent's log says why\n", "disk")
		}
	} else {
		fmt.Fprintf(stdout, "%-10s does not run, or cannot be asked\n", "agent")
	}
	return nil
}

// print shows what waits: before a purge, and as part of stats. It omits lines with 0. Text
// from the file is reduced to one line; stdout makes it printable.
func (t *queueStats) print() {
	fmt.Fprintf(stdout, "%-10s %d on disk: %d alarms and events, %d routine\n",
		"waiting", t.Alarms+t.Routine, t.Alarms, t.Routine)
	if t.Oldest != nil {
		fmt.Fprintf(stdout, "%-10s %s\n", "oldest", timeText(*t.Oldest))
		fmt.Fprintf(stdout, "%-10s %s\n", "newest", timeText(*t.Newest))
	}
	title := "streams" // only on the first line
	for _, name := range slices.Sorted(maps.Keys(t.Streams)) {
		fmt.Fprintf(stdout, "%-10s %-24s %d\n", title, oneLine(name), t.Streams[name])
		title = ""
	}
	if t.Events > 0 {
		fmt.Fprintf(stdout, "%-10s %d\n", "events", t.Events)
	}
	if t.Rejected > 0 {
		fmt.Fprintf(stdout, "%-10s %d that the broker refuses, see holdfast queue export --aside\n",
			"set aside", t.Rejected)
	}
	for _, o := range t.Others {
		id := oneLine(o.ClientID)
		fmt.Fprintf(stdout, "%-10s of client ID %s since %s: see holdfast queue export --from %s, or adopt\n",
			"moved", id, timeText(o.Since), id)
	}
	if t.Gaps > 0 {
		fmt.Fprintf(stdout, "%-10s %d, with %d readings missing\n", "gaps", t.Gaps, t.Missing)
	}
}

// errEnough stops reading a file when peek has printed its lines. peek never returns it.
var errEnough = errors.New("enough was seen")

// peek prints the items that will be sent first, as a table of at most s.max lines, and the
// number of further items below it. The order is that of sending: alarms and events first,
// then routine readings.
func (s *queueCmd) peek() error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tSTREAM\tVALUE\tBOOT\tSEQ")
	// Reading stops when enough lines are printed, so the totals come from the counts of the
	// file.
	n := 0
	c, err := s.inspect(func(it queue.Item) error {
		// Items that were set aside follow those that wait, so the first of them ends the table.
		if n++; n > s.max || it.IsRejected() {
			return errEnough
		}
		stream, value := oneLine(it.Stream), itemText(it)
		if it.Event != "" {
			stream = "(event)"
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", stampText(it.At), stream, value, oneLine(it.Boot), it.Seq)
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if more := c.Alarms + c.Routine - s.max; more > 0 {
		fmt.Fprintf(stdout, "and %d more\n", more)
	}
	if c.Rejected > 0 {
		fmt.Fprintf(stdout, "and %d set aside, see holdfast queue export --aside\n", c.Rejected)
	}
	if len(c.Gaps) > 0 {
		fmt.Fprintf(stdout, "and %d gaps, see holdfast queue export\n", len(c.Gaps))
	}
	return nil
}

// itemText is the content of a reading or an event, on one line: the error of a failed
// reading, the name of a state, or the value with its unit. The order of the cases matters,
// because an event has neither a value nor an error.
func itemText(it queue.Item) string {
	switch {
	case it.Event != "":
		return oneLine(strings.TrimSpace(it.Event + " " + it.Details))
	case it.Err != "": // its value is 0 and has no meaning
		return oneLine("error: " + it.Err)
	case it.State != "":
		return oneLine(it.State)
	}
	return oneLine(valueText(sensors.Quantity{Unit: it.Unit}, it.Value))
}

// oneLine replaces tabs and line ends, which would break a table. Each run of white space
// becomes one blank.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// stampText is a time, with its quality unless that is ok. The word is the same as in the
// payload's "clock".
func stampText(at clock.Stamp) string {
	if at.Clock == clock.Synced {
		return timeText(at.Unix)
	}
	return timeText(at.Unix) + " (" + at.Clock.String() + ")"
}

// timeText is a time in the local zone, with the zone, because a table may be sent to
// somebody elsewhere. ms is in milliseconds since 1970.
func timeText(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000 -0700") }

// sizeText is a number of bytes in a suitable unit. Units are powers of 1024, as in
// queue.max_size.
func sizeText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// export prints what waits as it would be published now, one line of JSON each, in the
// order of sending. A reading includes its stream, which is part of the topic in MQTT. The
// gaps, which have no number and no time until they are sent, come last. With -aside it
// prints what was rejected instead. Each line has the client ID if no configuration names
// it and the file does.
//
// If it returns an error, some lines may have been printed, and the last of them may be
// incomplete.
func (s *queueCmd) export() error {
	// Line by line: a full queue is too large for the memory.
	w := bufio.NewWriter(stdout)
	owner := ""
	if s.named {
		owner, _ = queue.Owner(s.path) // inspect reports an error
	}
	// The buffer is reused for each item: an export has many thousands.
	var line []byte
	c, err := s.inspect(func(it queue.Item) error {
		if it.IsRejected() != s.aside {
			return nil
		}
		line = append(payload.AppendNamed(line[:0], owner, it, true), '\n')
		_, err := w.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	if s.aside {
		c.Gaps = nil // they are part of what waits
	}
	for _, g := range c.Gaps {
		// A gap is written like the event that reports it, with the keys of queue.Gap.
		if err := json.NewEncoder(w).Encode(struct {
			ClientID string `json:"client_id,omitempty"`
			Event    string `json:"event"`
			queue.Gap
		}{owner, "gap", g}); err != nil {
			return err
		}
	}
	if c.Damaged > 0 {
		fmt.Fprintf(stderr, "holdfast: queue %s: %d blocks fail their checksums and are left out\n", s.path, c.Damaged)
	}
	return w.Flush()
}
