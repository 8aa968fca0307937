// Story runs an end-to-end scenario and checks its results: holdfast, built for arm, on a
// Linux kernel with real GPIO and I2C drivers; a door and a climate sensor; a network cable
// that is pulled, a power cut that discards the disk's cache, and no lost reading.
//
// build/rig/run calls it; see build/rig/README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/guest"
)

type options struct {
	fetched, agent, settime, run string
	story                        string
	keep                         float64
	seed                         uint64
	rounds                       int
	lying, verbose               bool
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "pipe" {
		os.Exit(pipe(os.Args[2]))
	}
	var o options
	flag.StringVar(&o.fetched, "fetched", "", "the `folder` that build/rig/fetch has filled")
	flag.StringVar(&o.agent, "agent", "", "holdfast for arm, a `file`")
	flag.StringVar(&o.settime, "settime", "", "build/rig/settime for arm, a `file`")
	flag.StringVar(&o.story, "story", "all", "`which`: house, workbench, alarm or all")
	flag.StringVar(&o.run, "run", "", "a `folder` for logs and what is built for the machine")
	flag.Float64Var(&o.keep, "keep", 0, "the `chance` that a sector survives the power cut without a flush")
	flag.Uint64Var(&o.seed, "seed", 1, "a `number` that decides which sectors do")
	flag.IntVar(&o.rounds, "rounds", 30, "how `often` the story of the siren does what it repeats")
	flag.BoolVar(&o.lying, "lying-disk", false, "the disk makes nothing durable: the story expects a loss")
	flag.BoolVar(&o.verbose, "v", false, "show the machine's console")
	flag.Parse()
	os.Exit(run(o))
}

const limit = 12 * time.Minute // for one story, which takes one to five minutes

// stories are run in this order.
var stories = []story{
	{"house", guest.Door, (*house).houseStory},
	{"workbench", guest.Workbench, (*house).workbench},
	{"alarm", guest.Alarm, (*house).alarm},
}

type story struct {
	name   string
	config []byte
	run    func(*house, context.Context, options) error
}

func run(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &report{out: os.Stdout}
	for _, s := range stories {
		if o.story == "all" || o.story == s.name {
			r.note("%s", s.name)
			runOne(ctx, o, s, r)
		}
	}
	return r.end()
}

func runOne(ctx context.Context, o options, s story, r *report) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	h := &house{report: r, random: rand.New(rand.NewPCG(o.seed, 0))}
	defer h.tearDown()
	if err := h.runStory(ctx, o, s); err != nil {
		h.check(false, "the story failed: %v", err)
	}
}

func (h *house) runStory(ctx context.Context, o options, s story) error {
	dir, err := os.MkdirTemp("", "holdfast-rig-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	console, err := os.Create(filepath.Join(o.run, s.name+".log"))
	if err != nil {
		return err
	}
	h.console = console
	if o.verbose {
		h.console = io.MultiWriter(console, os.Stdout)
	}
	if err := h.setUp(ctx, o, dir, s.config); err != nil {
		return err
	}
	return s.run(h, ctx, o)
}

// houseStory is the story of the house.
func (h *house) houseStory(ctx context.Context, o options) error {
	var d outage
	for _, act := range []func() error{
		func() error { return h.firstReadings(ctx) },
		func() error { return h.doorChanges(ctx) },
		func() error { return h.sensorFails(ctx) },
		func() error { return h.cableBreaks(ctx) },
		func() error { return h.cableOut(ctx, &d) },
		func() error { return h.powerCut(ctx, &d, o.keep) },
		func() error { return h.restartOffline(ctx) },
		func() error { return h.cableIn(ctx, &d) },
	} {
		if err := act(); err != nil {
			return err
		}
	}
	arrivals := h.recorder.Arrivals()
	if o.lying {
		h.lost(&d, arrivals)
	} else {
		h.doors(&d, arrivals)
		h.numbers(&d, arrivals)
	}
	h.present(ctx, &d)
	return h.shutDown(ctx)
}

// pipe connects standard input and output to an address: QEMU starts it for each connection
// of the guest, and ends it by closing its input.
func pipe(address string) int {
	c, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ended := make(chan struct{}, 2)
	for to, from := range map[io.Writer]io.Reader{c: os.Stdin, os.Stdout: c} {
		go func() { io.Copy(to, from); ended <- struct{}{} }()
	}
	<-ended
	return 0
}
