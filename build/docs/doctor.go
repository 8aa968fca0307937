package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/holdfast-iot/holdfast/build/markdown"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/doctor"
)

//go:embed doctorpreamble.md
var doctorPreamble string

// doctorPage is docs/doctor.md: a section for each check, with a row for each fault.
func doctorPage(string) (string, error) {
	var out strings.Builder
	out.WriteString(doctorPreamble)
	for _, c := range doctor.Checks() {
		when := ""
		if c.AtStart {
			when = " Also *at the start*."
		}
		fmt.Fprintf(&out, "## %s\n\nChecks %s.%s\n\n| | problem | remedy |\n|---|---|---|\n", c.Name,
			c.Looks, when)
		for _, f := range c.Faults {
			fmt.Fprintf(&out, "| %v | %s | %s |\n", f.Level, cell(f.What), cell(f.Mend))
		}
		out.WriteString("\n")
	}
	return markdown.Wrap(strings.TrimSuffix(out.String(), "\n")), nil
}
