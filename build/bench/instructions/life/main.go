// Command life takes readings through one part of their life, or all of it. It is
// built for ARMv6 and run by build/bench/instructions, which counts its instructions
// for two numbers of readings: the difference is what readings cost, without what a
// start costs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A life is what one run is given.
type life struct {
	n      int
	dir    string // of the queue's file
	broker string // host:port
	clock  *clock.Timekeeper
}

// parts are what can be run, by name.
var parts = map[string]func(life, context.Context) error{
	"sample": life.sample,
	"put":    life.put,
	"encode": life.encode,
	"drain":  life.drain,
	"live":   life.live,
}

// limit ends a run that waits for something that never comes.
const limit = 5 * time.Minute

func main() {
	l := life{clock: clock.NewTimekeeper(clock.TrustAlways)}
	part := flag.String("part", "live", "what to run")
	flag.IntVar(&l.n, "n", 100, "readings")
	flag.StringVar(&l.dir, "dir", "", "an empty `folder`")
	flag.StringVar(&l.broker, "broker", "", "`host:port`")
	flag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	run := parts[*part]
	if run == nil {
		fmt.Fprintf(os.Stderr, "life: no part is called %q\n", *part)
		os.Exit(2)
	}
	if err := run(l, ctx); err != nil {
		fmt.Fprintf(os.Stderr, "life: %s: %v\n", *part, err)
		os.Exit(1)
	}
}
