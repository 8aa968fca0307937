// Command streams measures what many streams cost an agent, with a real Mosquitto and
// agents that are processes of their own:
//
//	go run ./build/bench/streams                       # four minutes: 1,000 streams beside one
//	go run ./build/bench/streams -calm 150s -away 60s -after 90s   # five minutes of each
//
// An agent reads some simulated sensors, together so many readings a second: a calm
// time, an outage, and the time after it, in which the backlog goes out. It ends with
// status 1 if a reading did not arrive. Figures depend on the machine and its load,
// which it prints; none of them is a condition.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// times are the lengths of the parts of a run.
type times struct{ calm, away, after time.Duration }

func main() {
	streams := flag.Int("streams", 1000, "streams, of a sensor each that is read once a second")
	var t times
	flag.DurationVar(&t.calm, "calm", time.Minute, "before the outage")
	flag.DurationVar(&t.away, "away", time.Minute, "how long the outage lasts")
	flag.DurationVar(&t.after, "after", 30*time.Second, "after it; then the agent is to have sent its backlog")
	agent := flag.String("agent", "", "the agent's `binary`; it is built if there is none")
	asJSON := flag.Bool("json", false, "print a JSON object for each agent, and nothing else")
	rate := flag.String("rate", "0", "`drain.rate` of the configuration")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	printer := printText
	if *asJSON {
		printer = printJSON
	}
	if err := run(ctx, *agent, *rate, *streams, t, printer); err != nil {
		fmt.Fprintln(os.Stderr, "streams:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, agent, rate string, streams int, t times, show func(base, got figures) error) error {
	dir, err := os.MkdirTemp("", "holdfast-streams")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if agent == "" {
		agent = filepath.Join(dir, "holdfast")
		out, err := exec.CommandContext(ctx, "build/agent", agent).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	before, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "load before: %s", before)
	base := figures{}
	// One stream with the same total rate, for comparison.
	loads := []load{
		{streams: 1, every: time.Second / time.Duration(streams), rate: rate},
		{streams: streams, every: time.Second, rate: rate},
	}
	if streams == 1 {
		loads = loads[:1]
	}
	for i, l := range loads {
		got, err := l.measure(ctx, agent, dir, t)
		if err != nil {
			return fmt.Errorf("%d streams: %w", l.streams, err)
		}
		if i == 0 {
			base = got
		}
		if err := show(base, got); err != nil {
			return err
		}
	}
	return nil
}

// printText prints the figures of an agent, and their ratios to those of one stream. It is
// called for the one stream first.
func printText(base, got figures) error {
	fmt.Println(got)
	if got.streams > base.streams {
		fmt.Printf("a stream takes %.2f kB; drained at %.2f of the rate of one stream\n",
			float64(got.memory-base.memory)/1000/float64(got.streams-base.streams), got.drained/base.drained)
	}
	return nil
}

// printJSON prints the figures that build/bench/peers/plots draws.
func printJSON(_, got figures) error {
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{"streams": float64(got.streams),
		"core": got.core, "memory": float64(got.memory), "at_rest": got.atRest})
}

// figures are the results of one agent.
type figures struct {
	streams int
	core    float64 // of one core in the calm time, 0 to 1
	memory  int64   // bytes of RssAnon, at the end of the calm time
	atRest  float64 // bytes of a reading on disk, at the end of the outage
	drained float64 // readings a second that arrived of the backlog
	arrived int
	twice   int
}

func (f figures) String() string {
	return fmt.Sprintf("%4d streams: %.1f %% of a core, %.1f MB, %.1f B a reading at rest, "+
		"drained at %.0f/s, %d arrived, %d twice, none is missing",
		f.streams, 100*f.core, float64(f.memory)/1e6, f.atRest, f.drained, f.arrived, f.twice)
}

// text is the configuration of an agent.
func (l load) text(server, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "client_id: %s\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %q}\ndrain: {rate: %s}\nsensors:\n",
		clientID, server, filepath.Join(dir, "queue.db"), l.rate)
	for i := range l.streams {
		fmt.Fprintf(&b, "  room-%04d: {kind: simulated, wave: {quantity: temperature, unit: \"°C\", mean: %d, "+
			"swing: 5, period: %ds}, every: %v}\n", i, 15+i%10, 600+i, l.every)
	}
	return b.String()
}
