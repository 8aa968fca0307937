// Command instructions counts the instructions that a reading costs on ARMv6, by QEMU's
// user mode and a plugin that is built here:
//
//	go run ./build/bench/instructions                         # a minute
//	go run ./build/bench/instructions -docs docs/benchmarks.md
//
// It needs gcc and qemu-user (Debian; qemu-user-static loads no plugins). The broker is
// a process of the host: only the agent's instructions are counted. Each part of a
// reading's life is run for two numbers of readings, and the difference is divided:
// what a start costs is in both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/build/markdown"
	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
)

// A part is a part of the processing of a reading, by its name in
// build/bench/instructions/life.
type part struct {
	name       string
	few, many  int
	perReading profile // the median of the rounds
}

var parts = []part{
	{name: "sample", few: 200, many: 1200},
	{name: "put", few: 200, many: 1200},
	{name: "encode", few: 200, many: 1200},
	{name: "drain", few: 2000, many: 12_000},
	{name: "live", few: 100, many: 600},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	docs := flag.String("docs", "", "write the section of the page in this `file`")
	rounds := flag.Int("rounds", 3, "of each part; the medians count")
	flag.Parse()
	if err := run(ctx, *docs, max(*rounds, 1)); err != nil {
		fmt.Fprintln(os.Stderr, "instructions:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, docs string, rounds int) error {
	dir, err := os.MkdirTemp("", "holdfast-instructions")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := newCounter(ctx, dir)
	if err != nil {
		return err
	}
	defer c.broker.Stop()
	for i := range parts {
		p := &parts[i]
		var all []profile
		for range rounds {
			got, err := c.difference(ctx, *p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			all = append(all, got)
		}
		p.perReading = median(all)
		fmt.Fprintf(os.Stderr, "instructions: %s: %.0f\n", p.name, p.perReading.total())
	}
	text := c.section(ctx, rounds)
	fmt.Print(text)
	if docs == "" {
		return nil
	}
	return markdown.ReplaceSection(docs, "instructions", text)
}

// A counter has the programs that count.
type counter struct {
	dir          string
	life, plugin string // paths
	symbols      symbols
	broker       *mqtttest.Broker
	runs         int
}

func newCounter(ctx context.Context, dir string) (*counter, error) {
	for tool, debian := range map[string]string{"qemu-arm": "qemu-user", "gcc": "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing (Debian: apt-get install %s)", tool, debian)
		}
	}
	c := &counter{dir: dir, life: filepath.Join(dir, "life"), plugin: filepath.Join(dir, "count.so")}
	_, err1 := output(ctx, nil, "gcc", "-shared", "-fPIC", "-O2", "-o", c.plugin,
		"build/bench/instructions/plugin/count.c")
	_, err2 := output(ctx, []string{"GOOS=linux", "GOARCH=arm", "GOARM=6", "CGO_ENABLED=0"},
		"go", "build", "-o", c.life, "./build/bench/instructions/life")
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("start it in the root of the tree: %w", err)
	}
	table, err := output(ctx, nil, "go", "tool", "nm", "-sort", "address", c.life)
	if err != nil {
		return nil, err
	}
	if c.symbols, err = parseSymbols(table); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.broker = mqtttest.Serve(l, func(s *mqtttest.Conn) {
		if s.AcceptConnect() {
			s.Serve(nil)
		}
	})
	return c, nil
}

// difference is the cost of one more reading.
func (c *counter) difference(ctx context.Context, p part) (profile, error) {
	few, err := c.count(ctx, p.name, p.few)
	if err != nil {
		return nil, err
	}
	many, err := c.count(ctx, p.name, p.many)
	if err != nil {
		return nil, err
	}
	return many.minus(few, p.many-p.few), nil
}

// count runs a part with n readings.
func (c *counter) count(ctx context.Context, name string, n int) (profile, error) {
	c.runs++
	home := filepath.Join(c.dir, strconv.Itoa(c.runs))
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	counts := filepath.Join(home, "counts")
	// GOMAXPROCS: a Pi Zero has one core.
	_, err := output(ctx, []string{"GOMAXPROCS=1"}, "qemu-arm", "-cpu", "arm1176", "-plugin", c.plugin+",out="+counts,
		c.life, "-part", name, "-n", strconv.Itoa(n), "-dir", home, "-broker", c.broker.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(counts)
	if err != nil {
		return nil, err
	}
	return c.symbols.profile(string(text))
}

// output runs a command with additional environment variables, and returns its output.
func output(ctx context.Context, env []string, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, stderr.String())
	}
	return string(out), nil
}
