// Command brokers runs holdfast with real MQTT brokers, with TLS and a password, and
// reports the results for each of them.
//
// Its last line is "N passed, N failed". README.md describes the cases.
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

	"github.com/holdfast-iot/holdfast/build/markdown"
)

// A place has what the parts of a run share.
type place struct {
	agent string // the program under test
	cache string // folder of downloaded programs
	dir   string // folder of this run, for logs and data
	here  string // build/brokers of the work tree
	mqtt  string // mqtt.version of the agents
	all   bool   // -all: includes cases that are too long for CI
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
	flag.StringVar(&p.mqtt, "mqtt", "auto", "mqtt.version of the agents: auto, 3.1.1 or 5")
	onlyLimits := flag.Bool("limits", false, "only the cases of a server with limits")
	answers := flag.Bool("answers", false, "only the table of answers, of the brokers that are chosen")
	parallel := flag.Int("parallel", 4, "how many brokers run at a time")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p.all = *all
	chosen, err := choose(*only, *all)
	if err == nil {
		err = p.settle()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "brokers:", err)
		os.Exit(1)
	}
	rep := newReport(os.Stdout)
	run := runBroker
	if *onlyLimits {
		run = runLimits
		chosen = slices.DeleteFunc(chosen, func(name string) bool { return name == consumersWord })
	}
	if *answers {
		run = runAnswers
		chosen = slices.DeleteFunc(chosen, func(name string) bool { return name == consumersWord })
	}
	runAll(ctx, p, chosen, *parallel, rep, run)
	finish(rep, p, *docs, *answers)
	os.Exit(rep.end())
}

// finish writes the results of the run into the page, or compares the answers with those in
// the page.
func finish(rep *report, p place, docs string, onlyAnswers bool) {
	switch {
	case docs != "" && onlyAnswers:
		err := markdown.ReplaceSection(docs, answersSection, rep.answerTable())
		rep.check(err == nil, "the table of answers is in %s", docs)
	case docs != "":
		err := os.WriteFile(docs, rep.page(), 0o644)
		rep.check(err == nil, "the table is in %s", docs)
	default:
		page, err := os.ReadFile(filepath.Join(p.here, "../../docs/brokers.md"))
		rep.check(err == nil, "docs/brokers.md is there to be compared with the answers")
		rep.compare(string(page))
	}
}

// settle makes all paths absolute, because brokers run in other folders, and creates the
// certificates.
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

// consumersWord selects the consumers in a list of brokers.
const consumersWord = "consumers"

// choose returns the names of the parts to run.
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

// runAll runs the chosen brokers, several at a time.
func runAll(ctx context.Context, p place, chosen []string, parallel int, rep *report,
	run func(context.Context, place, *kind, *report)) {
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
	for _, slow := range []bool{true, false} { // the slowest first
		for i := range kinds {
			if k := &kinds[i]; k.slow == slow {
				start(k.name, func() { run(ctx, p, k, rep) })
			}
		}
	}
	start(consumersWord, func() { runConsumers(ctx, p, rep) })
	all.Wait()
}

// runBroker runs the suite, and at the same time asks another server of the same kind.
func runBroker(ctx context.Context, p place, k *kind, rep *report) {
	version, ok := findVersion(p, k, rep)
	if !ok {
		return
	}
	var asked sync.WaitGroup
	defer asked.Wait()
	asked.Go(func() { askBroker(ctx, p, k, rep) })
	if len(k.limits) > 0 && (!k.slow || p.all) {
		asked.Go(func() { reachLimits(ctx, p, k, rep) })
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

// runAnswers only asks the questions of a broker.
func runAnswers(ctx context.Context, p place, k *kind, rep *report) {
	if _, ok := findVersion(p, k, rep); ok {
		askBroker(ctx, p, k, rep)
	}
}

// runLimits only runs the cases with limits of a broker.
func runLimits(ctx context.Context, p place, k *kind, rep *report) {
	if _, ok := findVersion(p, k, rep); ok && len(k.limits) > 0 {
		reachLimits(ctx, p, k, rep)
	}
}

// findVersion finds the version of a broker, or reports why it cannot be run.
func findVersion(p place, k *kind, rep *report) (version string, ok bool) {
	version, err := k.version(p)
	rep.broker(k, version)
	if err != nil {
		rep.absent(k.name, err, k.ci && os.Getenv("CI") != "")
	}
	return version, err == nil
}
