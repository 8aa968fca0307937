// Command life runs one part of the processing of readings, or all of it. It is built for
// ARMv6 and run by build/bench/instructions, which counts its instructions for two numbers
// of readings: the difference is the cost of readings, without that of the start.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A life has the options of one run.
type life struct {
	n      int
	dir    string // of the queue's file
	broker string // host:port
	clock  *clock.Timekeeper
}

// parts are the parts that can be run, by name.
var parts = map[string]func(life, context.Context) error{
	"sample": life.sample,
	"put":    life.put,
	"encode": life.encode,
	"drain":  life.drain,
	"live":   life.live,
}

// limit ends a run that does not make progress.
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
