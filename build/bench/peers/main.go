// Command peers does the same work with holdfast and with what a user would pick
// instead, in one run, and writes its section of docs/benchmarks.md:
//
//	cd build/bench/peers && go run . -docs ../../../docs/benchmarks.md
//
// It takes half an hour, root (each peer has an ext4 image of its own, whose bytes are
// counted at the block device), mosquitto, e2fsprogs and util-linux. It is a module of
// its own, so that the peers are no dependencies of holdfast.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// A plan has the sizes of the measurements and the programs.
type plan struct {
	kinds  []kind
	rounds int
	burst  int           // readings that wait before a drain
	large  int           // readings of the burst before memory is measured
	rest   time.Duration // time between the burst and the measurement of memory
	slow   int           // readings of the slow outage
	rate   float64       // rate of these readings, per second

	dir             string // for disks and brokers
	agent, telegraf string // paths of the programs
}

const (
	jobEnv   = "HOLDFAST_PEERS_JOB"
	spaceEnv = "HOLDFAST_PEERS_MOUNTS"
)

func main() {
	if text := os.Getenv(jobEnv); text != "" {
		fatal(work(text))
		return
	}
	p := plan{rate: 10}
	only := flag.String("only", "", "peers, separated by commas; empty: all")
	docs := flag.String("docs", "", "write the section of the page in this `file`")
	flag.IntVar(&p.rounds, "rounds", 5, "of each drain and start; the medians are printed")
	flag.IntVar(&p.burst, "burst", 20_000, "readings that wait before a drain")
	flag.IntVar(&p.large, "large", 200_000, "readings of the burst after which memory is looked at")
	flag.DurationVar(&p.rest, "rest", time.Minute, "until it is")
	flag.IntVar(&p.slow, "slow", 200, "readings of the outage, 10 a second")
	flag.Parse()
	for _, k := range kinds {
		if *only == "" || slices.Contains(strings.Split(*only, ","), k.name) {
			p.kinds = append(p.kinds, k)
		}
	}
	if os.Getenv(spaceEnv) == "" {
		fatal(inMountNamespace())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fatal(p.run(ctx, *docs))
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// inMountNamespace restarts this program in a mount namespace, so that its mounts end with
// it.
func inMountNamespace() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"--mount", "--propagation", "private", self}, os.Args[1:]...)
	c := exec.Command("unshare", args...)
	c.Env = append(os.Environ(), spaceEnv+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c.Run()
}

func (p plan) run(ctx context.Context, docs string) (err error) {
	if p.dir, err = os.MkdirTemp("", "holdfast-peers"); err != nil {
		return err
	}
	defer os.RemoveAll(p.dir)
	if err := p.buildPrograms(ctx); err != nil {
		return err
	}
	load := loadAverage()
	f, err := p.measure(ctx)
	if err != nil {
		return err
	}
	text := p.section(f, load)
	fmt.Print(text)
	if docs == "" {
		return nil
	}
	return markdown.ReplaceSection(docs, "peers", text)
}

// findings are all results, in the order of the kinds.
type findings struct {
	outages []result
	drains  map[int][]result // by window
	starts  []result
	large   []result // after the large burst
}

// measure runs all measurements.
func (p plan) measure(ctx context.Context) (f findings, err error) {
	f.drains = map[int][]result{}
	f.large, err = p.together("memory", func(k kind) bool { return k.large },
		func(k kind) (result, error) { return p.held(ctx, k) })
	if err != nil {
		return f, err
	}
	f.outages, err = p.together("outage", func(k kind) bool { return !k.memory && !k.noDrain },
		func(k kind) (result, error) { return p.outage(ctx, k) })
	if err != nil {
		return f, err
	}
	var starts, drains = map[string][]result{}, map[string][]result{}
	for round := range p.rounds { // in turn, so that other load of the machine affects all of them
		for _, k := range p.kinds {
			if err := p.turn(ctx, k, starts, drains); err != nil {
				return f, err
			}
		}
		fmt.Fprintf(os.Stderr, "peers: round %d of %d: load %s\n", round+1, p.rounds, loadAverage())
	}
	for _, k := range p.kinds {
		f.starts = append(f.starts, medians(starts[k.name]))
		for _, window := range windows {
			if all := drains[turnName(k, window)]; len(all) > 0 {
				f.drains[window] = append(f.drains[window], medians(all))
			}
		}
	}
	return f, nil
}

func turnName(k kind, window int) string { return fmt.Sprintf("%s, window %d", k.name, window) }

// turn measures one start and the drains of one peer, and adds them to the results.
func (p plan) turn(ctx context.Context, k kind, starts, drains map[string][]result) error {
	r, err := p.started(ctx, k.name)
	if err != nil {
		return fmt.Errorf("%s: start: %w", k.name, err)
	}
	starts[k.name] = append(starts[k.name], r)
	for _, window := range windows {
		if k.trickle || k.noDrain || k.noWindow && window != windows[0] {
			continue
		}
		name := turnName(k, window)
		r, err := p.drain(ctx, k, window)
		if err != nil {
			return fmt.Errorf("%s: drain: %w", name, err)
		}
		drains[name] = append(drains[name], r)
		fmt.Fprintf(os.Stderr, "peers: %s: %+v\n", name, r)
	}
	return nil
}

// together measures peers at the same time, for figures that are not times.
func (p plan) together(what string, of func(kind) bool, measure func(kind) (result, error)) ([]result, error) {
	all, errs := make([]result, len(p.kinds)), make([]error, len(p.kinds))
	var ended sync.WaitGroup
	for i, k := range p.kinds {
		if !of(k) {
			continue
		}
		ended.Go(func() {
			if all[i], errs[i] = measure(k); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %s: %w", k.name, what, errs[i])
			}
		})
	}
	ended.Wait()
	all = slices.DeleteFunc(all, func(r result) bool { return r.peer == "" })
	fmt.Fprintf(os.Stderr, "peers: %s: %+v\n", what, all)
	return all, errors.Join(errs...)
}
