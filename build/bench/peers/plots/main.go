// Command plots draws what holdfast's cost depends on, and writes its sections of
// docs/benchmarks.md:
//
//	cd build/bench/peers && go run ./plots -tree ../../..
//
// It takes a quarter of an hour, and root: it starts build/bench/run for queues of a
// thousand to ten million readings, and build/bench/streams for 1 to 1,000 streams.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// counts are the numbers of streams.
var counts = []int{1, 10, 100, 1000}

// An amount is the cost of a queue with this many readings: a line of build/bench/run.
type amount struct {
	Waiting int
	Figure  float64
	Unit    string
}

// A load is the cost of an agent with this many streams, as build/bench/streams prints it.
type load struct {
	Streams float64
	Core    float64 // of one core
	Memory  float64 // bytes
	AtRest  float64 `json:"at_rest"` // bytes of a reading on disk
	rate    float64 // readings a second
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tree := flag.String("tree", "../../..", "the `folder` of the tree")
	var t times
	flag.DurationVar(&t.calm, "calm", 20*time.Second, "how long an agent's processor time is counted")
	flag.DurationVar(&t.away, "away", 20*time.Second, "how long its readings are kept")
	only := flag.String("only", "", "growth or streams; empty: both")
	flag.Parse()
	if err := run(ctx, *tree, *only, t); err != nil {
		fmt.Fprintln(os.Stderr, "plots:", err)
		stop()
		os.Exit(1)
	}
}

// times are how long an agent is measured.
type times struct{ calm, away time.Duration }

func run(ctx context.Context, tree, only string, t times) error {
	if err := os.MkdirAll(filepath.Join(tree, "docs", "plots"), 0o755); err != nil {
		return err
	}
	if only != "streams" {
		growth, err := measureGrowth(ctx, tree)
		if err != nil {
			return err
		}
		if err := publish(tree, "growth", growthTitle, growthPanels(growth), growthSection(growth)); err != nil {
			return err
		}
	}
	if only == "growth" {
		return nil
	}
	loads, err := measureStreams(ctx, tree, t)
	if err != nil {
		return err
	}
	return publish(tree, "streams", streamsTitle, streamsPanels(loads), streamsSection(loads, t))
}

// publish writes a picture and the section of the page that shows it.
func publish(tree, name, title string, panels []panel, text string) error {
	var b bytes.Buffer
	draw(&b, title, panels)
	return errors.Join(os.WriteFile(filepath.Join(tree, "docs", "plots", name+".svg"), b.Bytes(), 0o644),
		markdown.ReplaceSection(filepath.Join(tree, "docs", "benchmarks.md"), name, text))
}

// machine describes the date and the machine of the measurement.
func machine() string {
	text, err := os.ReadFile("/proc/loadavg")
	load := "unknown"
	if fields := bytes.Fields(text); err == nil && len(fields) > 0 {
		load = string(fields[0])
	}
	return fmt.Sprintf("%s, %d cores, load %s, %s, one run", time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), load,
		runtime.Version())
}

func measureGrowth(ctx context.Context, tree string) ([]amount, error) {
	return decoded[amount](ctx, tree, "build/bench/run", "-json", "growth")
}

// measureStreams measures this many streams with a reading a second each, and for
// comparison one stream with as many readings.
func measureStreams(ctx context.Context, tree string, t times) (all []load, err error) {
	for _, n := range counts {
		got, err := decoded[load](ctx, tree, "go", "run", "./build/bench/streams", "-json", "-streams", strconv.Itoa(n),
			"-calm", t.calm.String(), "-away", t.away.String(), "-after", "30s")
		if err != nil {
			return nil, err
		}
		for _, l := range got {
			l.rate = float64(n)
			all = append(all, l)
		}
	}
	return all, nil
}

// decoded runs a command in the tree that prints JSON objects, and decodes them.
func decoded[T any](ctx context.Context, tree, name string, args ...string) (all []T, err error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = tree
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	return decode[T](out)
}

func decode[T any](text []byte) (all []T, err error) {
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var one T
		if err := d.Decode(&one); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
}
