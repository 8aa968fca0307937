package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// columns are the cases of the table, in order.
var columns = []string{caseOutage, caseRestart, caseCrash, caseDrain, caseForgets, casePassword, caseTakeOver, caseWill,
	caseStop}

//go:embed pagehead.md
var pageHead string

// page is docs/brokers.md, made from the run, and wrapped.
func (r *report) page() []byte {
	var b bytes.Buffer
	b.WriteString(pageHead)
	fmt.Fprintf(&b, "| broker | version | %s |\n|---|---|%s\n", strings.Join(columns, " | "),
		strings.Repeat("---|", len(columns)))
	for _, k := range kinds {
		fmt.Fprintf(&b, "| %s | %s |", k.name, r.versions[k.name])
		for _, name := range columns {
			fmt.Fprintf(&b, " %s |", r.word(k.name, name))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n<!-- begin %s -->\n\n%s\n<!-- end %[1]s -->\n", answersSection, r.answerTable())
	b.WriteString("\n## What each of them does to you\n")
	for _, k := range kinds {
		r.paragraph(&b, &k)
	}
	b.WriteString(pageTail)
	return []byte(markdown.Wrap(b.String()))
}

// paragraph has the notes about a broker, the results of this run, and why a word in its
// row is not "ok".
func (r *report) paragraph(b *bytes.Buffer, k *kind) {
	fmt.Fprintf(b, "\n**%s** (%s). %s", k.name, k.source, k.notes)
	for _, fact := range slices.Sorted(slices.Values(r.facts[k.name])) {
		fmt.Fprintf(b, " %s", fact)
	}
	if k.durable && r.cells[k.name][caseCrash].held && r.cells[k.name][caseDrain].held {
		b.WriteString(" What it had acknowledged outlived its SIGKILL.")
	}
	b.WriteString("\n")
	if why, ok := r.missing[k.name]; ok {
		fmt.Fprintf(b, "\nNot run: %v.\n", why)
	}
	for _, name := range append([]string{caseStart, caseEnd}, columns...) {
		if c, ok := r.cells[k.name][name]; ok && !c.held {
			fmt.Fprintf(b, "\nFailed: %s: %s.\n", name, c.why)
		}
	}
}

// word is a cell of the table.
func (r *report) word(broker, name string) string {
	c, ok := r.cells[broker][name]
	switch {
	case !ok:
		return "not run"
	case c.held:
		return "ok"
	}
	return "**failed**"
}

//go:embed pagetail.md
var pageTail string
