// Command peers does the same work with holdfast and with what a user would pick
// instead, in one run, and writes docs/benchmarks.md:
//
//	cd build/bench/peers && go run . -docs ../../../docs/benchmarks.md
//
// It takes a quarter of an hour, root (each peer has an ext4 image of its own, whose bytes are
// counted at the block device), mosquitto, e2fsprogs and util-linux. It is a module of
// its own, so that the peers are no dependencies of holdfast.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// A plan is what is measured.
type plan struct {
	names  []string
	rounds int
	burst  int     // readings that wait before a drain
	slow   int     // readings of an outage
	rate   float64 // of these, a second
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
	var p plan
	only := flag.String("only", "", "peers, separated by commas; empty: all")
	docs := flag.String("docs", "", "write the section of the page in this `file`")
	flag.IntVar(&p.rounds, "rounds", 5, "of each drain; the medians are printed")
	flag.IntVar(&p.burst, "burst", 5_000, "readings that wait before a drain")
	flag.IntVar(&p.slow, "slow", 200, "readings of the outage, 10 a second")
	flag.Parse()
	p.rate = 10
	for _, peer := range peers {
		if *only == "" || slices.Contains(strings.Split(*only, ","), peer.name) {
			p.names = append(p.names, peer.name)
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

// inMountNamespace starts this program again where its mounts end with it.
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

func (p plan) run(ctx context.Context, docs string) error {
	dir, err := os.MkdirTemp("", "holdfast-peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	load := loadAverage()
	var outages, drains []result
	for _, name := range p.names {
		for _, peer := range peers {
			if peer.name != name {
				continue
			}
			if !peer.memory {
				r, err := p.outage(ctx, dir, name)
				if err != nil {
					return fmt.Errorf("%s: outage: %w", name, err)
				}
				outages = append(outages, r)
				fmt.Fprintf(os.Stderr, "peers: %s: outage: %+v\n", name, r)
			}
			if peer.trickle {
				continue
			}
			var rounds []result
			for range p.rounds {
				r, err := p.drain(ctx, dir, name)
				if err != nil {
					return fmt.Errorf("%s: drain: %w", name, err)
				}
				rounds = append(rounds, r)
			}
			drains = append(drains, medians(rounds))
			fmt.Fprintf(os.Stderr, "peers: %s: drain: %+v\n", name, drains[len(drains)-1])
		}
	}
	text := p.section(outages, drains, load)
	fmt.Print(text)
	if docs == "" {
		return nil
	}
	return markdown.ReplaceSection(docs, "peers", text)
}
