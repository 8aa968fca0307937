// Command back measures how long it takes after an outage until readings arrive
// again, with a real Mosquitto and agents that are processes of their own:
//
//	go run ./build/bench/back                     # a quarter of an hour: outages of 5 s to 2 min
//	go run ./build/bench/back -away 20s -agents 5
//
// The outages are of the broker (stopped; a proxy that closes) and of the agents' own
// link (interface down; carrier lost; far: nobody answers, and the kernel has nothing
// to tell). For the link the agents live in a network namespace; that takes root and
// iproute2.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
)

const (
	readEvery = 100 * time.Millisecond
	settle    = 65 * time.Second // before an outage: a session counts as stable after a minute
	watch     = 90 * time.Second // after an outage
)

func main() {
	agents := flag.Int("agents", 10, "for each way to be away")
	list := flag.String("away", "5s,20s,60s,120s", "how long, one after the other")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *agents, *list); err != nil {
		fmt.Fprintln(os.Stderr, "back:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, agents int, list string) error {
	var aways []time.Duration
	for text := range strings.SplitSeq(list, ",") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		aways = append(aways, d)
	}
	dir, err := os.MkdirTemp("", "holdfast-back")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "holdfast")
	if out, err := exec.CommandContext(ctx, "build/agent", binary).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	b, err := mosquitto.Start(dir, "")
	if err != nil {
		return err
	}
	defer func() { b.Stop() }()
	ways, end, err := allWays(dir, b)
	defer end()
	if err != nil {
		return err
	}
	fmt.Printf("%-10s %6s %7s %7s %7s %7s\n", "away by", "away", "agents", "p50", "p90", "worst")
	var all sync.WaitGroup
	failed := make([]error, len(ways))
	for i, w := range ways {
		all.Go(func() { failed[i] = w.measure(ctx, binary, dir, agents, aways) })
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// measure starts agents, interrupts their connection for each of some times, and prints how
// long they took to reconnect.
func (w *way) measure(ctx context.Context, binary, dir string, agents int, aways []time.Duration) error {
	seen, err := subscribe(w.broker.Addr, w.name)
	if err != nil {
		return err
	}
	defer seen.close()
	for i := range agents {
		id := fmt.Sprintf("%s-%d", w.name, i)
		stop, err := w.start(binary, filepath.Join(dir, id), id)
		if err != nil {
			return err
		}
		defer stop()
	}
	for _, away := range aways {
		if sleep(ctx, settle); ctx.Err() != nil {
			return ctx.Err()
		}
		if err := w.take(); err != nil {
			return err
		}
		sleep(ctx, away)
		seen.forget()
		back := time.Now()
		if err := w.give(); err != nil {
			return err
		}
		sleep(ctx, watch)
		w.print(away, agents, seen.after(back))
	}
	return nil
}

// print prints a distribution; agents that have not reconnected count as never.
func (w *way) print(away time.Duration, agents int, took []time.Duration) {
	slices.Sort(took)
	at := func(share int) string {
		n := (agents*share + 99) / 100
		if n > len(took) {
			return "never"
		}
		return took[n-1].Round(10 * time.Millisecond).String()
	}
	fmt.Printf("%-10s %6s %7d %7s %7s %7s\n", w.name, away, agents, at(50), at(90), at(100))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
