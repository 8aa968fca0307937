// Command powercut tests that the queue keeps its promises after a power cut and after a
// kill of the process. README.md explains the model, and the script run builds this
// program.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

const (
	controlCuts  = 200 // for the control run, of which some must fail
	controlKills = 20
)

// settings are the options of a run.
type settings struct {
	cuts, kills int
	seed        uint64
	recorder    string // the program that makes recordings
	keep        string // the folder for recordings of failures
	scratch     string // a folder in memory, if the machine has one
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		workerMain(os.Args[2:])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "child" {
		childMain(os.Args[2:])
		return
	}
	os.Exit(parentMain())
}

func parentMain() int {
	var s settings
	flag.IntVar(&s.cuts, "cuts", 1000, "images of a cut disk to open")
	flag.IntVar(&s.kills, "kills", 100, "kills of a process")
	flag.Uint64Var(&s.seed, "seed", 1, "of the first recording, and of the kills")
	flag.StringVar(&s.recorder, "recorder", "", "the recorder's test binary; build/powercut/run knows it")
	flag.StringVar(&s.keep, "keep", "", "where to keep recordings of failures")
	broken := flag.Bool("broken", false, "only the control: run with a disk that does not sync, and expect losses")
	replay := flag.String("replay", "", "open one image again: SEED/LIFE/CUT/CHOICE")
	flag.Parse()
	if flag.NArg() > 0 || s.cuts < 0 || s.kills < 0 || s.recorder == "" {
		flag.Usage()
		return 2
	}
	var err error
	if s.scratch, err = scratch(); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		return 1
	}
	defer os.RemoveAll(s.scratch)

	total := newTally()
	switch {
	case *replay != "":
		err = replayImage(s, *replay, total)
	case *broken:
		err = control(s, total)
	default:
		err = prove(s, total)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		total.failed++
	}
	fmt.Printf("%d passed, %d failed\n", total.passed, total.failed)
	if total.failed > 0 || total.passed == 0 {
		return 1
	}
	return 0
}

// scratch creates a folder, in memory if possible.
func scratch() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "powercut-"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "powercut-")
}

// prove runs the tests, and then the control on a smaller scale.
func prove(s settings, total *tally) error {
	for _, part := range []struct {
		name string
		run  func(settings, *tally) error
	}{{"power cuts", cuts}, {"kills", kills}} {
		t, start := newTally(), time.Now()
		t.loud = true
		if err := part.run(s, t); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Printf("%s: %d, %d with a broken promise%s; %d readings had to be there; %.1f s\n",
			part.name, t.passed+t.failed, t.failed, t.summary(), t.expected, time.Since(start).Seconds())
		total.add(t)
	}
	s.cuts, s.kills = min(s.cuts, controlCuts), min(s.kills, controlKills)
	return control(s, total)
}

// control runs the same tests with a queue that does not sync: if they found no loss there,
// their other results would prove nothing.
func control(s settings, total *tally) error {
	for _, part := range []struct {
		name string
		most int
		run  func(settings, *tally) error
	}{{"power cuts of a disk that does not sync", s.cuts, lyingCuts},
		{"kills of a Put that returns too early", s.kills, earlyKills}} {
		if part.most == 0 {
			continue
		}
		t := newTally()
		if err := part.run(s, t); err != nil {
			return fmt.Errorf("control, %s: %w", part.name, err)
		}
		fmt.Printf("control, %s: %d, %d with a broken promise%s\n", part.name, t.passed+t.failed, t.failed, t.summary())
		if t.lost() == 0 {
			fmt.Println("FAIL control: nothing was lost, so this harness would not notice")
			total.failed++
		} else {
			total.passed++
		}
	}
	return nil
}
