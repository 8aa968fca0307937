package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// A figure is one column of a table.
type figure struct {
	name   string
	of     func(result) float64
	less   bool   // less is better
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
)

// reasons are why a peer may be ahead, by figure.
var reasons = map[string]string{
	"bytes on flash for each reading": "it leaves readings to the page cache or to memory, or writes them much later",
	"lost by `kill -9`": "it writes each reading before it accepts it. holdfast keeps routine readings in memory for " +
		"`sync_every`, 5 s, to spare the flash; alarms are written before they are accepted",
	"twice": "it removes each reading by a write of its own; holdfast notes once in a while what " +
		"arrived",
	"taken in, readings/s": "it only appends to memory or to the page cache",
	"first reading after, s": "it tries each second, whoever else does. holdfast takes a turn within " +
		"`mqtt.reconnect.within`, 5 s, so that a fleet does not come back at once",
	"drained, readings/s": "it sends what it has in memory. holdfast decodes each reading from its queue, asks what " +
		"time it was, and begins with a proof that it may publish",
	"CPU, µs a reading": "as before: it sends what it has in memory",
	"memory, MB":        "it is no Go program, or has no queue",
}

// The paragraphs of the page.
const (
	intro       = "The same work in one run, by holdfast and by what a user would pick instead:"
	call        = "    cd build/bench/peers && go run . -docs ../../../docs/benchmarks.md\n"
	notMeasured = "Telegraf was not built for this run. A preallocated ring without a broker is in " +
		"[build/bench/README.md](../build/bench/README.md)."
	aboutOutage = "%d readings at %.0f a second while the broker is away; SIGKILL when the last one is accepted; " +
		"then the broker is there, and the peer starts again. Bytes are counted at the block device, with the file " +
		"system's journal."
	aboutDrain = "%d readings are taken in while the broker is away. Then they go out to a Mosquitto with its " +
		"defaults but for queues without a bound, and one subscriber at QoS 1; %d are in flight at most where a peer " +
		"has a choice. Medians of %d rounds. Processor time is that of the peer's processes by schedstat."
)

// section is that of docs/benchmarks.md.
func (p plan) section(outages, drains []result, load string) string {
	var b strings.Builder
	paragraph := func(format string, values ...any) { b.WriteString(fmt.Sprintf(format, values...) + "\n\n") }
	b.WriteString("## Beside its peers\n\n")
	paragraph(intro)
	b.WriteString(call + "\n")
	paragraph("%s on %s, %d cores, load before it %s; %s; %s.", time.Now().UTC().Format("2006-01-02"), machine(),
		runtime.NumCPU(), load, runtime.Version(), versions())
	b.WriteString("| peer | what it is |\n|---|---|\n")
	for _, peer := range peers {
		fmt.Fprintf(&b, "| %s | %s |\n", peer.name, peer.about)
	}
	b.WriteString("\n")
	paragraph(notMeasured)
	b.WriteString("### An outage\n\n")
	paragraph(aboutOutage, p.slow, p.rate)
	table(&b, ofOutage, outages)
	b.WriteString("\n### A drain\n\n")
	paragraph(aboutDrain, p.burst, window, p.rounds)
	table(&b, ofDrain, drains)
	return markdown.Wrap(b.String())
}

// table prints one, and under it every figure that another peer wins.
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
	b.WriteString("\nWhat holdfast does not win:\n\n")
	for _, f := range figures {
		if ahead := aheadIn(f, results); len(ahead) > 0 {
			fmt.Fprintf(b, "- %s: %s. Why: %s.\n", f.name, strings.Join(ahead, ", "), reasons[f.name])
		}
	}
}

// aheadIn are the peers that are better than holdfast by more than a twentieth.
func aheadIn(f figure, results []result) (names []string) {
	for _, ours := range results {
		if ours.peer != "holdfast" {
			continue
		}
		for _, r := range results {
			is, was := f.of(r), f.of(ours)
			if f.less && is < was*0.95 || !f.less && is > was*1.05 {
				names = append(names, r.peer)
			}
		}
	}
	return names
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

// versions are those of the broker and of the modules that are compared.
func versions() string {
	out, _ := exec.Command("mosquitto", "-h").CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	all := []string{strings.TrimSpace(line)}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return line
	}
	for _, m := range info.Deps {
		for _, part := range []string{"paho", "bbolt", "diskqueue"} {
			if strings.Contains(m.Path, part) {
				all = append(all, m.Path[strings.LastIndexByte(m.Path, '/')+1:]+" "+m.Version)
			}
		}
	}
	return strings.Join(all, ", ")
}
