// Package work is the worker of build/bench: it runs a job in a folder, with one of three
// stores, and counts the bytes at the device of the folder.
//
// The worker is the test binary of this package, because simulated time (testing/synctest)
// needs a test: ten minutes of an outage take a second, while files and syncs are real. The
// kernel's own timers do not use simulated time: see timers.go.
package work

import (
	"context"
	"fmt"
	"time"
)

const (
	syncEvery = 5 * time.Second       // the default of package queue's user
	roundTrip = 5 * time.Millisecond  // on a healthy link
	farTrip   = 50 * time.Millisecond // during a drain: with a longer one the cursor is written more often
	window    = 20                    // readings in flight, as in package uplink
	file      = "queue.db"
	unbounded = 1 << 40
)

// A Job describes the work.
type Job struct {
	Work    string  // a key of works
	Store   string  // ours, naive or ring
	Dir     string  // the folder of the store; from an earlier job, or empty
	Small   string  // put: a second store, with a small backlog
	Device  string  // the device of Dir, a name in /sys/block; empty: bytes are not counted
	N       int     // number of readings
	Rate    float64 // readings a second
	Backlog int     // size of the backlog at the start
	Real    bool    // use real time
}

// A Result has the figures of a job. What it did not measure is zero.
type Result struct {
	Readings int
	Commits  int   // by the store
	Handed   int64 // bytes that the process passed to the kernel
	Written  int64 // bytes that were written to the device
	InUse    int64 // bytes of bbolt's pages in use, at rest

	PerSecond float64 // readings
	Put       float64 // ns, with the large backlog
	PutSmall  float64 // ns, with the small backlog
	PutRatio  float64 // the median of the rounds
	PutWorst  float64 // ns, in the slowest round
	Allocs    float64 // per Put
	Open      float64 // ms

	RssAnon, RssFile int64 // bytes
}

var works = map[string]func(context.Context, Job) (Result, error){
	"fill":     fill,
	"linkwell": linkWell,
	"outage":   outage,
	"alarms":   alarms,
	"drain":    drain,
	"put":      put,
	"putnaive": putNaive,
	"read":     read,
	"open":     openTimes,
	"hold":     hold,
}

// Do runs the job.
func Do(ctx context.Context, j Job) (Result, error) {
	do := works[j.Work]
	if do == nil {
		return Result{}, fmt.Errorf("no work is called %q", j.Work)
	}
	r, err := do(ctx, j)
	if err != nil {
		return r, fmt.Errorf("%s by %s: %w", j.Work, j.Store, err)
	}
	return r, nil
}
