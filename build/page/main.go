// Command page tests the pages of the agent and the recorder in a real browser and with a
// real Prometheus, and makes the pictures in docs/.
//
//	page -agent FILE -recorder FILE [-chromium FILE] [-axe FILE] [-pictures FOLDER] [-only NAME]
//
// It prints a line for each test, and exits with status 1 if one failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// A proof is one test. It returns what was measured.
type proof struct {
	name string
	run  func(*prover, context.Context) (measured string, err error)
}

var proofs = []proof{
	{"foreign names, sites and methods are refused", (*prover).refusals},
	{"check refuses the network without a token and TLS", (*prover).unsafe},
	{"looks as it should, without findings of axe-core", (*prover).pictures},
	{"live: a fault, an outage, a drain", (*prover).live},
	{"the recorder: a day with an outage, before and after", (*prover).recorded},
	{"by keyboard", (*prover).keyboard},
	{"ranges have the decimals that they need", (*prover).ranges},
	{"1,000 streams scroll", (*prover).thousand},
	{"ten open pages cost little", (*prover).cost},
	{"promtool and Prometheus agree with metrics, boards and rules", (*prover).prometheus},
}

// A prover has what the tests share.
type prover struct {
	agent    string // the binary
	recorder string // the recorder's binary
	chromium string
	axe      string // the file axe.min.js
	folder   string // for the pictures; empty: none are stored
	dir      string // for temporary files
	house    *site  // a small house, whose network is never cut
}

const houseSensors = `sensors:
  door:     {kind: simulated, steps: {states: [closed, open], every: 3s}, class: door, alarm: true}
  humidity: {kind: simulated, wave: {quantity: humidity, unit: "%", mean: 45, swing: 10, period: 1m}, every: 1s}
  freezer:  {kind: simulated, wave: {quantity: temperature, unit: "°C", mean: -18, swing: 1.5, period: 40s}, every: 2s}
  cellar:   {kind: simulated, counter: {}, every: 1s, fail: {every: 1}}
`

// houseAlarm has a siren that a rule switches.
const houseAlarm = `outputs:
  siren: {kind: simulated, class: siren, max_on: 1m}
rules:
  intruder: {when: {door: open}, then: {siren: 2s}}
`

func main() {
	p := &prover{}
	flag.StringVar(&p.agent, "agent", "", "the agent's binary")
	flag.StringVar(&p.recorder, "recorder", "", "the recorder's binary")
	flag.StringVar(&p.chromium, "chromium", "chromium", "the browser")
	flag.StringVar(&p.axe, "axe", "", "axe-core's `file`")
	flag.StringVar(&p.folder, "pictures", "", "keep pictures in this `folder`")
	only := flag.String("only", "", "run proofs whose name has this `text`")
	flag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	defer stop()
	failed, err := p.all(ctx, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
	}
	if failed > 0 || err != nil {
		os.Exit(1)
	}
}

// all runs the tests and counts those that failed.
func (p *prover) all(ctx context.Context, only string) (failed int, err error) {
	if p.dir, err = os.MkdirTemp("", "holdfast-page-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(p.dir)
	if p.house, err = newSite(ctx, p.agent, p.dir, "house", houseSensors+houseAlarm+"arming: {exit: 30s}\n"); err != nil {
		return 0, err
	}
	defer p.house.stop()
	ran := 0
	for _, proof := range proofs {
		if !strings.Contains(proof.name, only) {
			continue
		}
		ran++
		begun := time.Now()
		measured, err := proof.run(p, ctx)
		word := "pass"
		if err != nil {
			word, measured = "FAIL", err.Error()
			failed++
		}
		fmt.Printf("%s  %s (%.0f s)  %s\n", word, proof.name, time.Since(begun).Seconds(), measured)
	}
	if ran == 0 {
		return 0, fmt.Errorf("no proof has %q in its name", only)
	}
	return failed, nil
}
