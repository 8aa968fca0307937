// Command bench measures package queue from outside: bytes at the block device, speed and
// memory, compared with the naive way and with the limit. build/bench/run starts it;
// README.md explains the lines.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var b bench
	flag.StringVar(&b.worker, "worker", "", "the test binary of build/bench/work")
	flag.StringVar(&b.dir, "dir", "", "an empty folder")
	flag.BoolVar(&b.quick, "quick", false, "smaller backlogs and shorter outages")
	real := flag.Bool("real", false, "also an outage of 60 s in real time beside the same in simulated time")
	asJSON := flag.Bool("json", false, "a JSON object for each line")
	list := flag.Bool("list", false, "only print the names")
	flag.Parse()

	chosen, err := choose(flag.Args(), *real)
	if err != nil {
		return err
	}
	if *list {
		for _, m := range chosen {
			fmt.Printf("%-14s %s\n", m.name, m.about)
		}
		return nil
	}
	var all []line
	for _, m := range chosen {
		fmt.Fprintf(os.Stderr, "bench: %s: %s\n", m.name, m.about)
		lines, err := m.run(&b, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		for i := range lines {
			lines[i].Measure = m.name
		}
		all = append(all, lines...)
	}
	if *asJSON {
		return printJSON(os.Stdout, all)
	}
	return printTable(os.Stdout, all)
}

// choose returns the measures with these names, or all except the slow one.
func choose(names []string, real bool) ([]measure, error) {
	if real && len(names) > 0 {
		names = append(names, realTime)
	}
	var chosen []measure
	for _, m := range measures {
		if slices.Contains(names, m.name) || len(names) == 0 && (m.name != realTime || real) {
			chosen = append(chosen, m)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(measures, func(m measure) bool { return m.name == n }) {
			return nil, fmt.Errorf("no measure is called %q: see -list", n)
		}
	}
	return chosen, nil
}
