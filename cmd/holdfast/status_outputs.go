package main

import (
	"cmp"
	"strings"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

// left is the time span between the snapshot and at, as text. It rounds up to a full
// second, so it never shows 0 s for something that is still to come.
func (p *statusPage) left(at int64) string { return spanText(float64(at-p.Time+999) / 1000) }

// alarm is the state of the alarm panel, if there is one: first the state, then what
// prevents arming.
func (p *statusPage) alarm() {
	a := p.Arming
	if a == nil {
		return
	}
	colour := map[string]string{"disarmed": "", "arming": yellow, "pending": yellow, "triggered": red}
	painted, other := colour[a.State]
	if !other {
		painted = green // armed, in one of the ways
	}
	parts := []string{strings.ReplaceAll(a.State, "_", " ") + " for " + p.ago(a.Since)}
	if a.By != "" {
		parts = append(parts, "by "+a.By)
	}
	if a.Until != 0 {
		parts = append(parts, "changes in "+p.left(a.Until))
	}
	p.fact("alarm", painted, "%s", strings.Join(parts, ", "))
	for _, list := range []struct {
		name  string
		names []string
	}{{"not ready", a.Open}, {"left out", a.Bypass}} {
		if len(list.names) > 0 {
			p.fact("", "", "%s: %s", list.name, strings.Join(p.titles(list.names), ", "))
		}
	}
	if a.LockedUntil != 0 {
		p.fact("", yellow, "codes are refused for another %s", p.left(a.LockedUntil))
	}
}

// titles are the display names of streams.
func (p *statusPage) titles(names []string) []string {
	called := map[string]string{}
	for _, s := range p.Streams {
		called[s.Name] = s.Title
	}
	titles := make([]string, len(names))
	for i, name := range names {
		titles[i] = cmp.Or(called[name], name)
	}
	return titles
}

// outputs is the table of the outputs, if there are any: the state of each, since when,
// why, and for how long.
func (p *statusPage) outputs() {
	if len(p.Outputs) == 0 {
		return
	}
	table, colours := [][]string{{"OUTPUT", "NAME", "STATE", "AGE", "WHY"}}, []string{faint}
	for _, o := range p.Outputs {
		age, colour := "-", ""
		if o.Since != 0 {
			age = p.ago(o.Since)
		}
		switch o.State {
		case status.On:
			colour = yellow
		case status.Unknown:
			colour = red
		}
		table, colours = append(table, []string{o.Name, titleText(o.Title, o.Area), o.State, age, p.why(o)}),
			append(colours, colour)
	}
	p.table(table, colours)
}

// why is the cause of an output's state, and what will happen without an order.
func (p *statusPage) why(o status.Output) string {
	if o.Error != "" {
		return "fault: " + o.Error
	}
	var parts []string
	if o.By != "" {
		parts = append(parts, "by "+o.By)
	}
	if o.Until != 0 {
		parts = append(parts, "for another "+p.left(o.Until))
	}
	if o.RestUntil != 0 {
		parts = append(parts, "rests for another "+p.left(o.RestUntil))
	}
	return strings.Join(parts, ", ")
}
