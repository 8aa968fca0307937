package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// A line is one figure.
type line struct {
	Measure string   `json:"measure"`
	By      string   `json:"by"`
	Figure  float64  `json:"figure"`
	Unit    string   `json:"unit"`
	Waiting int      `json:"waiting,omitempty"` // readings in the backlog, if the measure has several
	AtMost  *float64 `json:"at_most,omitempty"`
	AtLeast *float64 `json:"at_least,omitempty"`
	ToRing  *float64 `json:"to_ring,omitempty"` // ours divided by the ring
	Note    string   `json:"note,omitempty"`
}

func atMost(f float64) *float64 { return &f }

// target returns the target of the figure, and whether it is met.
func (l line) target() string {
	result := map[bool]string{true: "ok", false: "MISSED"}
	switch {
	case l.AtMost != nil:
		return fmt.Sprintf("<= %s %s", number(*l.AtMost), result[l.Figure <= *l.AtMost])
	case l.AtLeast != nil:
		return fmt.Sprintf(">= %s %s", number(*l.AtLeast), result[l.Figure >= *l.AtLeast])
	}
	return ""
}

// number has three significant digits, and no exponent.
func number(f float64) string {
	switch {
	case f == float64(int64(f)), f >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

func printTable(w io.Writer, lines []line) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "measure\tby\tfigure\tunit\ttarget\tto ring\tnote")
	last := ""
	for _, l := range lines {
		name := l.Measure
		if name == last {
			name = ""
		}
		last = l.Measure
		ring := ""
		if l.ToRing != nil {
			ring = number(*l.ToRing)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, l.By, number(l.Figure), l.Unit, l.target(), ring, l.Note)
	}
	return t.Flush()
}

func printJSON(w io.Writer, lines []line) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
