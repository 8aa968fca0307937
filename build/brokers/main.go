// Command brokers runs holdfast against real MQTT brokers, with TLS and a
// password, and says what each of them does to it.
//
// It ends with "N passed, N failed". Its README.md says what is proven.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A place is what the parts of a run share.
type place struct {
	agent string // the program under test
	cache string // programs that run has fetched
	dir   string // of this run, for logs and data
	here  string // build/brokers of the work tree
	ca    *authority
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == mochiWord {
		if err := serveMochi(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "mochi:", err)
			os.Exit(1)
		}
		return
	}
	var p place
	flag.StringVar(&p.agent, "agent", "holdfast", "the program under test")
	flag.StringVar(&p.cache, "cache", ".", "the folder of what was fetched")
	flag.StringVar(&p.dir, "run", "run", "the folder for logs and data")
	flag.StringVar(&p.here, "here", "build/brokers", "the folder of these sources")
	only := flag.String("only", "", "a list of brokers, or \"consumers\"; else those that CI runs, and the consumers")
	all := flag.Bool("all", false, "all brokers and the consumers")
	docs := flag.String("docs", "", "write the table to this file")
	parallel := flag.Int("parallel", 4, "how many brokers run at a time")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen, err := choose(*only, *all)
	if err == nil {
		err = p.settle()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "brokers:", err)
		os.Exit(1)
	}
	rep := newReport(os.Stdout)
	runAll(ctx, p, chosen, *parallel, rep)
	if *docs != "" {
		err := os.WriteFile(*docs, rep.page(), 0o644)
		rep.check(err == nil, "the table is in %s", *docs)
	}
	os.Exit(rep.end())
}

// settle names every folder from the root, since brokers run in others, and makes
// the certificates.
func (p *place) settle() (err error) {
	for _, name := range []*string{&p.cache, &p.dir, &p.here} {
		if *name, err = filepath.Abs(*name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	p.ca, err = newAuthority(p.dir)
	return err
}

// consumersWord stands among the brokers for the programs that read.
const consumersWord = "consumers"

// choose returns the names of what is to be run.
func choose(only string, all bool) (names []string, err error) {
	known := []string{}
	for _, k := range kinds {
		known = append(known, k.name)
		if k.ci || all {
			names = append(names, k.name)
		}
	}
	names, known = append(names, consumersWord), append(known, consumersWord)
	if only == "" {
		return names, nil
	}
	names = strings.Split(only, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("-only: there is no %q; known are %s", name, strings.Join(known, ", "))
		}
	}
	return names, nil
}

func runAll(ctx context.Context, p place, chosen []string, parallel int, rep *report) {
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	start := func(name string, f func()) {
		if !slices.Contains(chosen, name) {
			return
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			f()
		})
	}
	for _, slow := range []bool{true, false} { // what takes longest first
		for i := range kinds {
			if k := &kinds[i]; k.slow == slow {
				start(k.name, func() { runBroker(ctx, p, k, rep) })
			}
		}
	}
	start(consumersWord, func() { runConsumers(ctx, p, rep) })
	all.Wait()
}

// runBroker runs the suite, or says why it can't.
func runBroker(ctx context.Context, p place, k *kind, rep *report) {
	version, err := k.version(p)
	rep.broker(k, version)
	if err != nil {
		rep.absent(k.name, err, k.ci && os.Getenv("CI") != "")
		return
	}
	s, err := newServer(p, k, filepath.Join(p.dir, k.name))
	if err == nil {
		err = s.start(ctx)
	}
	if !rep.tell(k.name, caseStart, version, err) {
		return
	}
	defer s.kill()
	if err := newSuite(p, s, rep).run(ctx); err != nil {
		rep.tell(k.name, caseEnd, "", err)
	}
}
