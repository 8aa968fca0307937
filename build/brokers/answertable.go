package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/build/markdown"
	"github.com/holdfast-iot/holdfast/build/rig/rawmqtt"
)

// answersSection is the heading of the table of answers in docs/brokers.md.
const answersSection = "answers"

//go:embed answershead.md
var answersHead string

// answered adds the answers of a broker with one version of MQTT.
func (r *report) answered(broker string, v rawmqtt.Version, cells []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.checkLocked(false, "%s: %s, MQTT %v: %v", broker, caseAnswers, v, err)
		return
	}
	r.answers[asked{broker, v}] = cells
	r.checkLocked(true, "%s: %s, MQTT %v: %s", broker, caseAnswers, v, strings.Join(cells, " | "))
}

// answerTable is the section of docs/brokers.md.
func (r *report) answerTable() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	b.WriteString(answersHead)
	b.WriteString("\n| broker | MQTT |")
	for _, q := range questions {
		fmt.Fprintf(&b, " %s |", q.name)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 2+len(questions)) + "\n")
	for _, k := range kinds {
		for _, v := range []rawmqtt.Version{rawmqtt.V3, rawmqtt.V5} {
			if cells, ok := r.answers[asked{k.name, v}]; ok {
				b.WriteString(answerRow(k.name+" "+r.versions[k.name], v, cells))
			} else {
				b.WriteString(answerRow(k.name, v, []string{"not run"}))
			}
		}
	}
	return markdown.Wrap(b.String())
}

// answerRow is a row of the table, filled with empty cells.
func answerRow(broker string, v rawmqtt.Version, cells []string) string {
	cells = slices.Clone(cells)
	for len(cells) < len(questions) {
		cells = append(cells, "")
	}
	return fmt.Sprintf("| %s | %v | %s |\n", broker, v, strings.Join(cells, " | "))
}

// compare checks that each broker of this run gives the answers in a page. A broker whose
// version differs from that in the page is compared too; the line has its version.
func (r *report) compare(page string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range kinds {
		for _, v := range []rawmqtt.Version{rawmqtt.V3, rawmqtt.V5} {
			cells, ok := r.answers[asked{k.name, v}]
			if !ok {
				continue
			}
			want := cellsOf(page, k.name, v)
			differ := differences(cells, want)
			r.checkLocked(len(differ) == 0, "%s %s, MQTT %v: it answers as docs/brokers.md says%s", k.name,
				r.versions[k.name], v, strings.Join(differ, ""))
		}
	}
}

// cellsOf are the answers in a row of a page, without the empty cells at its end.
func cellsOf(page, broker string, v rawmqtt.Version) []string {
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 2+len(questions) || strings.Fields(cells[0] + " -")[0] != broker || cells[1] != v.String() {
			continue
		}
		cells = cells[2:]
		for len(cells) > 0 && cells[len(cells)-1] == "" {
			cells = cells[:len(cells)-1]
		}
		return cells
	}
	return nil
}

// differences lists the cells in which the answers differ from the page.
func differences(got, want []string) (all []string) {
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			all = append(all, fmt.Sprintf("\n\t%s: %q, and the page says %q", questions[i].name, g, w))
		}
	}
	return all
}
