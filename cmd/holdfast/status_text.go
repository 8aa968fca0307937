package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/cmd/printable"
	"github.com/holdfast-iot/holdfast/sensors"
)

// A statusPage formats a snapshot for a terminal. It is used once, by one goroutine. The
// times of a snapshot are in ms since 1970, and all ages are relative to the time of the
// snapshot, not to now.
type statusPage struct {
	status.Snapshot
	out     strings.Builder
	colours bool
}

// statusText formats a snapshot. Except for the colours, the text is printable whatever the
// snapshot contains.
func statusText(s status.Snapshot, colours bool) string {
	p := &statusPage{Snapshot: s, colours: colours}
	// The most urgent facts come first, details last.
	p.head()
	p.facts()
	p.alarm()
	p.problems()
	p.outputs()
	p.streams()
	p.events()
	return p.out.String()
}

// Colours of ECMA-48, section 8.3.117.
const (
	// The codes of SGR, as text: paint puts them between ESC [ and m.
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours a text. It adds nothing if colours are off or the text is empty, so that
// columns keep their width.
func (p *statusPage) paint(code, text string) string {
	if !p.colours || text == "" || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// printf adds to the page. Text from elsewhere has to be printable already.
func (p *statusPage) printf(format string, args ...any) { fmt.Fprintf(&p.out, format, args...) }

// head is the node and its state: the name in bold, the state in green or red.
func (p *statusPage) head() {
	n := p.Node
	word, good := worst(p.Snapshot)
	colour := green
	if !good {
		colour = red
	}
	name, area := n.ClientID, ""
	if n.Title != "" {
		name = n.Title + " (" + n.ClientID + ")"
	}
	if n.Area != "" {
		area = n.Area + ", "
	}
	p.printf("%s  %s\n", p.paint(bold, printableText(name)), p.paint(colour, word))
	p.printf("%s\n\n", p.paint(faint, printableText(fmt.Sprintf("%sholdfast %s, %s, up %s, start %s, process %d",
		area, n.Version, n.Hardware, p.ago(n.Started), n.Boot, n.PID))))
}

// ago is the time span between at, in ms since 1970, and the snapshot, as text.
func (p *statusPage) ago(at int64) string { return spanText(float64(p.Time-at) / 1000) }

// fact adds one line with a name and a text. The colour is one of those above, or empty.
func (p *statusPage) fact(name, colour, format string, args ...any) {
	text := printableText(fmt.Sprintf(format, args...))
	p.printf("  %s %s\n", p.paint(faint, fmt.Sprintf("%-9s", name)), p.paint(colour, text))
}

// byMQTT is the version of MQTT as text; empty if it is unknown, as with an older agent.
func byMQTT(version string) string {
	if version == "" {
		return ""
	}
	return ", MQTT " + version
}

// facts are the link, the backlog, the losses, the disk and the clock. The time left is
// shown only while the backlog shrinks: it is negative if it is unknown.
func (p *statusPage) facts() {
	l, q := p.Link, p.Queue
	if l.Connected {
		p.fact("link", green, "connected to %s for %s, round trip %.1f ms%s", l.Server, p.ago(l.Since), l.RoundTrip*1000,
			byMQTT(l.MQTT))
	} else {
		next := "trying now"
		// The time of the next attempt has passed while one is under way.
		if l.NextTry > p.Time {
			next = "next try in " + spanText(float64(l.NextTry-p.Time)/1000)
		}
		p.fact("link", red, "not connected to %s for %s, %s", l.Server, p.ago(l.Since), next)
	}
	if l.Error != "" {
		p.fact("", "", "last error %s ago: %s", p.ago(l.ErrorAt), l.Error)
	}
	switch {
	case q.Backlog == 0:
		p.fact("backlog", "", "0: everything was acknowledged")
	// Left is negative while the backlog does not shrink, or without a link.
	case q.Left >= 0:
		p.fact("backlog", yellow, "%d, the oldest %s old, %.1f a second, %s left",
			q.Backlog, spanText(q.Oldest), q.Rate, spanText(q.Left))
	default:
		p.fact("backlog", yellow, "%d, the oldest %s old", q.Backlog, spanText(q.Oldest))
	}
	colour := ""
	// These readings are lost; those that were set aside can still be exported.
	if q.Dropped+q.Missing > 0 {
		colour = red
	}
	late := ""
	if q.Skipped > 0 {
		late = fmt.Sprintf(", %d too late for a plain payload", q.Skipped)
	}
	p.fact("delivered", colour, "%d since the start; %d dropped, %d missing, %d set aside%s",
		q.Delivered, q.Dropped, q.Missing, q.Aside, late)
	p.unheard()
	p.fact("disk", "", "%s written today in %d commits", sizeText(q.WrittenToday), q.CommitsToday)
	source := p.Clock.Source
	if source == "" {
		source = "no time source confirms it"
	}
	p.fact("clock", "", "%s: %s", p.Clock.Quality, source)
}

// unheard are the readings that the broker accepted and that had no subscriber. That is no
// fault where all clients read only the states.
func (p *statusPage) unheard() {
	var total uint64
	for _, n := range p.Link.Unheard {
		total += n
	}
	if total > 0 {
		p.fact("unheard", "", "%d that nobody has subscribed to, of %s", total,
			strings.Join(slices.Sorted(maps.Keys(p.Link.Unheard)), ", "))
	}
}

// problems are the findings of the quick checks when the agent started.
func (p *statusPage) problems() {
	for _, text := range p.Problems {
		p.printf("  %s\n", p.paint(yellow, "! "+printableText(text)))
	}
}

// streams is the table of what sensors measure, in the order of the configuration. A stream
// that cannot be read shows its error instead of its last hour.
func (p *statusPage) streams() {
	table := [][]string{{"STREAM", "NAME", "VALUE", "AGE", "LAST HOUR"}}
	colours := []string{faint}
	for _, s := range p.Sensors() {
		// Shown before the first reading.
		value, age := "-", "-"
		if s.Value != nil {
			q := sensors.Quantity{Unit: s.Unit}
			if value = s.State; value == "" {
				value = valueText(q, *s.Value)
			}
		}
		if s.At != 0 {
			age = p.ago(s.At)
		}
		// The last column, because its width is not fixed.
		trail, colour := sparkText(s.History), ""
		if s.Error != "" {
			trail, colour = "fault: "+s.Error, red
		}
		table, colours = append(table, []string{s.Name, titleText(s.Title, s.Area), value, age, trail}),
			append(colours, colour)
	}
	p.table(table, colours)
}

// titleText is the display name and the area of a thing; empty if it has neither.
func titleText(title, area string) string {
	if title != "" && area != "" {
		return title + ", " + area
	}
	return title + area
}

// table adds rows in columns, each row in its colour, below an empty line. A column that is
// empty except for its heading is left out. Widths are counted in terminal columns: some
// scripts take two columns for each character.
func (p *statusPage) table(rows [][]string, colours []string) {
	widths := make([]int, len(rows[0]))
	for i, row := range rows {
		for j := range row {
			row[j] = printableText(row[j])
			if i > 0 && row[j] != "" {
				widths[j] = max(widths[j], printable.Width(row[j]), printable.Width(rows[0][j]))
			}
		}
	}
	p.printf("\n")
	for i, row := range rows {
		var line strings.Builder
		for j, cell := range row {
			if widths[j] > 0 {
				line.WriteString("  " + cell + strings.Repeat(" ", widths[j]-printable.Width(cell)))
			}
		}
		p.printf("%s\n", p.paint(colours[i], strings.TrimRight(line.String(), " ")))
	}
}

// maxEventsShown is how many events fit below the rest; -json has all of them.
const maxEventsShown = 8

// events are the last events, the newest at the end, in the terminal's time zone.
func (p *statusPage) events() {
	list := p.Events[max(0, len(p.Events)-maxEventsShown):]
	if len(list) == 0 {
		return
	}
	p.printf("\n%s\n", p.paint(faint, "  EVENTS"))
	for _, e := range list {
		// The terminal's time zone, as in other commands.
		at := time.UnixMilli(e.At).Format("2006-01-02 15:04:05")
		p.printf("  %s  %-13s %s\n", at, printableText(e.Name), printableText(detailsText(e.Details)))
	}
}

// detailsText formats the details of an event on one line: sensor=room, failures=3. The
// keys are sorted, because a JSON object has no order. It is empty for details that are no
// object.
func detailsText(details json.RawMessage) string {
	var all map[string]any
	if json.Unmarshal(details, &all) != nil {
		return ""
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, fmt.Sprintf("%s=%v", key, all[key]))
	}
	return strings.Join(parts, ", ")
}

// sparkText draws a history as characters, three slots each; empty if there is none. The
// range is that of this history, so heights of different streams cannot be compared. A slot
// without a value repeats the one before, so a gap is visible only at the beginning.
func sparkText(h *status.History) string {
	if h == nil {
		return ""
	}
	// The lowest and the highest value; a slot without a value is NaN.
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range h.Values {
		if !math.IsNaN(float64(v)) {
			low, high = min(low, float64(v)), max(high, float64(v))
		}
	}
	// The block elements of Unicode, U+2581 to U+2588: eight heights.
	const bars = "▁▂▃▄▅▆▇█"
	steps := []rune(bars)
	var out []rune
	last := math.NaN()
	for i, v := range h.Values {
		if !math.IsNaN(float64(v)) {
			last = float64(v)
		}
		if i%3 != (len(h.Values)-1)%3 { // the last one is always drawn
			continue
		}
		switch {
		case math.IsNaN(last):
			out = append(out, ' ')
		// A constant value is drawn at the bottom; the formula below would divide by 0.
		case high == low:
			out = append(out, steps[0])
		default:
			out = append(out, steps[int((last-low)/(high-low)*float64(len(steps)-1)+0.5)])
		}
	}
	return string(out)
}

// spanText formats a time span with two units at most. It rounds down; a negative span, as
// after a step of the clock, counts as 0.
func spanText(seconds float64) string {
	s := int64(max(seconds, 0))
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}
