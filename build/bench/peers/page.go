package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// A figure is one column of a table.
type figure struct {
	name   string
	of     func(result) float64
	less   bool   // lower is better
	format string // of fmt
}

var (
	ofOutage = []figure{
		{"bytes on flash for each reading", func(r result) float64 { return r.bytes }, true, "%.0f"},
		{"lost by `kill -9`", func(r result) float64 { return r.lost }, true, "%.0f"},
		{"twice", func(r result) float64 { return r.twice }, true, "%.0f"},
		{"out of order", func(r result) float64 { return r.mixed }, true, "%.0f"},
	}
	ofDrain = []figure{
		{"taken in, readings/s", func(r result) float64 { return r.accept }, false, "%.0f"},
		{"first reading after, s", func(r result) float64 { return r.first }, true, "%.2f"},
		{"drained, readings/s", func(r result) float64 { return r.rate }, false, "%.0f"},
		{"CPU, µs a reading", func(r result) float64 { return r.cpu }, true, "%.1f"},
		{"memory, MB", func(r result) float64 { return r.memory }, true, "%.1f"},
		{"lost", func(r result) float64 { return r.lost }, true, "%.0f"},
		{"twice", func(r result) float64 { return r.twice }, true, "%.0f"},
		{"out of order", func(r result) float64 { return r.mixed }, true, "%.0f"},
	}
	ofStart = []figure{{"start to first reading, ms", func(r result) float64 { return r.start }, true, "%.0f"}}
	ofLarge = []figure{{"memory after the large burst, MB", func(r result) float64 { return r.memory }, true, "%.1f"}}
)

// The paragraphs of the section.
const (
	intro = "The same work in one run, by holdfast and by what a user would pick instead:"
	call  = "    cd build/bench/peers && go run . -docs ../../../docs/benchmarks.md\n"

	aboutOutage = "%d readings at %.0f a second while the broker is away; SIGKILL when the last one is accepted; " +
		"then the broker is there, and the peer starts again. Bytes are counted at the block device, with the file " +
		"system's journal, from when the peer has made its files."
	aboutDrain = "%d readings (%d where a peer is slow) are taken in while the broker is away. Then they go out to a " +
		"Mosquitto with its defaults but for queues without a bound, and one subscriber at QoS 1. Medians of %d rounds. " +
		"Processor time is that of the peer's processes by schedstat, from the broker's return to the last reading's " +
		"arrival. A peer that has no choice of its window is in the first table only."
	aboutStart = "From the start of the process to the first reading at a subscriber, with the broker there: medians of " +
		"%d. Mosquitto and Telegraf are started by a process that takes some milliseconds itself."
	aboutLarge = "Anonymous memory %v after a burst of %d readings, as fast as each is taken in, while the broker is " +
		"away. A peer that is not in the table would have needed much longer for the burst, or cannot hold it."
)

// section is the section of docs/benchmarks.md.
func (p plan) section(f findings, load string) string {
	var b strings.Builder
	paragraph := func(format string, values ...any) { b.WriteString(fmt.Sprintf(format, values...) + "\n\n") }
	b.WriteString("## Beside its peers\n\n")
	paragraph(intro)
	b.WriteString(call + "\n")
	paragraph("%s on %s, %d cores, load before it %s; %s; %s.", time.Now().UTC().Format("2006-01-02"), machine(),
		runtime.NumCPU(), load, runtime.Version(), versions())
	b.WriteString("| peer | what it is |\n|---|---|\n")
	for _, k := range p.kinds {
		fmt.Fprintf(&b, "| %s | %s |\n", k.name, k.about)
	}
	b.WriteString("\n")
	targets(&b, f)
	b.WriteString("\n### An outage\n\n")
	paragraph(aboutOutage, p.slow, p.rate)
	table(&b, ofOutage, f.outages)
	b.WriteString("\n### A drain\n\n")
	paragraph(aboutDrain, p.burst, slowBurst, p.rounds)
	for _, window := range windows {
		paragraph("At most %d in flight:", window)
		table(&b, ofDrain, f.drains[window])
		b.WriteString("\n")
	}
	b.WriteString("### A start\n\n")
	paragraph(aboutStart, p.rounds)
	table(&b, ofStart, f.starts)
	b.WriteString("\n### After a burst\n\n")
	paragraph(aboutLarge, p.rest, p.large)
	table(&b, ofLarge, f.large)
	return markdown.Wrap(b.String())
}

// table prints a table, and below it every figure in which another peer is better.
func table(b *strings.Builder, figures []figure, results []result) {
	b.WriteString("| peer |")
	for _, f := range figures {
		fmt.Fprintf(b, " %s |", f.name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(figures)) + "\n")
	for _, r := range results {
		fmt.Fprintf(b, "| %s |", r.peer)
		for _, f := range figures {
			fmt.Fprintf(b, " "+f.format+" |", f.of(r))
		}
		b.WriteString("\n")
	}
	var ahead strings.Builder
	for _, f := range figures {
		losses(&ahead, f, aheadIn(f, results))
	}
	if ahead.Len() == 0 {
		b.WriteString("\nNo peer is ahead of holdfast.\n")
		return
	}
	fmt.Fprintf(b, "\nWhat holdfast does not win:\n\n%s", &ahead)
}

// aheadIn are the peers that are better than holdfast by more than 5 %.
func aheadIn(f figure, results []result) (names []string) {
	for _, ours := range results {
		if ours.peer != "holdfast" {
			continue
		}
		for _, r := range results {
			if isOurs(r.peer) {
				continue
			}
			is, was := f.of(r), f.of(ours)
			if f.less && is < was*0.95 || !f.less && is > was*1.05 {
				names = append(names, r.peer)
			}
		}
	}
	return names
}

// isOurs reports whether a peer is holdfast in another form.
func isOurs(name string) bool {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	return i >= 0 && kinds[i].ours
}

// targets prints the ratios that have targets, if their peers were measured.
func targets(b *strings.Builder, f findings) {
	b.WriteString("| holdfast | wanted | measured |\n|---|---:|---:|\n")
	row := func(what, wanted, format string, ok bool, value float64) {
		if ok {
			fmt.Fprintf(b, "| %s | %s | "+format+" |\n", what, wanted, value)
		}
	}
	for _, window := range windows {
		ours, ok1 := find(f.drains[window], "holdfast")
		ceiling, ok2 := find(f.drains[window], "minimal")
		what := fmt.Sprintf("of the minimal client's, window %d", window)
		row("CPU for a drained reading, "+what, "≤ 1.10", "%.2f", ok1 && ok2, ours.cpu/ceiling.cpu)
		row("readings/s of a drain, "+what, "≥ 0.95", "%.2f", ok1 && ok2, ours.rate/ceiling.rate)
	}
	ours, ok := find(f.drains[windows[0]], "default")
	best := 0.0
	for _, window := range windows {
		ceiling, _ := find(f.drains[window], "minimal")
		best = max(best, ceiling.rate)
	}
	row("readings/s with the default window, of the minimal client's best", "≥ 0.90", "%.2f", ok && best > 0,
		ours.rate/best)
	ours, ok = find(f.starts, "agent")
	row("start of the program to its first reading, ms", "≤ 40", "%.0f", ok, ours.start)
	ours, ok = find(f.large, "default")
	row("memory after a large burst, MB", "≤ 14", "%.1f", ok, ours.memory)
}

func find(results []result, peer string) (result, bool) {
	i := slices.IndexFunc(results, func(r result) bool { return r.peer == peer })
	if i < 0 {
		return result{}, false
	}
	return results[i], true
}

func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// versions are the versions of the broker and of the compared modules.
func versions() string {
	out, _ := exec.Command("mosquitto", "-h").CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	all := []string{strings.TrimSpace(line)}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return line
	}
	all = append(all, "telegraf "+telegrafVersion)
	for _, m := range info.Deps {
		for _, part := range []string{"paho", "bbolt", "diskqueue"} {
			if strings.Contains(m.Path, part) {
				all = append(all, m.Path[strings.LastIndexByte(m.Path, '/')+1:]+" "+m.Version)
			}
		}
	}
	return strings.Join(all, ", ")
}
