// Package work is what the worker of build/bench does: a job on a folder, by
// one of three stores, with the bytes counted where the folder is mounted.
//
// The worker is the test binary of this package, because only a test may have
// simulated time (testing/synctest): ten minutes of an outage take a second,
// while files and syncs are real. What the kernel does by its own clock does
// not see simulated time: see timers.go.
package work

import (
	"context"
	"fmt"
	"time"
)

const (
	syncEvery = 5 * time.Second       // the default of package queue's user
	roundTrip = 5 * time.Millisecond  // on a link that is well
	farTrip   = 50 * time.Millisecond // of a drain: the longer it takes, the more often the cursor is due
	window    = 20                    // readings on their way to the broker at a time, as in package uplink
	file      = "queue.db"
	unbounded = 1 << 40
)

// A Job says what to do, and on what.
type Job struct {
	Work    string  // a key of works
	Store   string  // ours, naive or ring
	Dir     string  // where the store is; made by an earlier job or empty
	Small   string  // put: a second store, with a small backlog
	Device  string  // below Dir, a name in /sys/block; empty: nothing is counted
	N       int     // readings to do it with
	Rate    float64 // readings a second
	Backlog int     // readings to have waiting first
	Real    bool    // real time
}

// A Result is what a job has found. What it did not look for is zero.
type Result struct {
	Readings int
	Commits  int   // by the store
	Handed   int64 // bytes that the process gave to the kernel
	Written  int64 // bytes that the device was given
	InUse    int64 // bytes of bbolt's pages in use, at rest

	PerSecond float64 // readings
	Put       float64 // ns, with the large backlog
	PutSmall  float64 // ns, with the small backlog
	PutRatio  float64 // the median of the rounds
	PutWorst  float64 // ns, in the slowest round
	Allocs    float64 // a Put
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

// Do does the job.
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
