package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// A speed is what so many messages took.
type speed struct {
	rate   float64 // messages a second
	allocs float64 // of the process, a message
	cpu    float64 // µs of the process, a message
}

// cpuTime is what this process has used of processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// timed says what n messages take.
func timed(n int, do func() (time.Duration, error)) (speed, error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	took, err := do()
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	return speed{float64(n) / took.Seconds(), float64(after.Mallocs-before.Mallocs) / float64(n),
		float64(cpu.Microseconds()) / float64(n)}, err
}

// compared are the medians of some rounds.
type compared struct {
	ours, raw, unbounded speed
	ratio                float64 // ours to raw
}

// speeds compares the agent with the library, and prints each round.
func speeds(ctx context.Context, dir string, n, window, rounds int) (c compared, err error) {
	b, err := mosquitto.Start(dir, "")
	if err != nil {
		return c, err
	}
	defer b.Stop()
	var ours, raw, unbounded []speed
	var ratios []float64
	for round := range rounds {
		home := filepath.Join(dir, fmt.Sprintf("%d-%d", window, round))
		a, f, u, err := oneRound(home, b.Addr, n, window)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return c, err
		}
		fmt.Printf("ours %6.0f/s  raw %6.0f/s  unbounded %6.0f/s  ours to raw %.2f, to unbounded %.2f  "+
			"allocations %.2f, raw %.2f, unbounded %.2f  CPU %.1f µs, raw %.1f, unbounded %.1f\n",
			a.rate, f.rate, u.rate, a.rate/f.rate, a.rate/u.rate,
			a.allocs, f.allocs, u.allocs, a.cpu, f.cpu, u.cpu)
		ours, raw, unbounded = append(ours, a), append(raw, f), append(unbounded, u)
		ratios = append(ratios, a.rate/f.rate)
	}
	slices.Sort(ratios)
	c = compared{median(ours), median(raw), median(unbounded), ratios[rounds/2]}
	fmt.Printf("median %.2f, want 0.9 (window %d, %d readings, %d rounds); %.2f allocations a message, raw %.2f\n",
		c.ratio, window, n, rounds, c.ours.allocs, c.raw.allocs)
	return c, nil
}

// median is that of each figure.
func median(all []speed) (m speed) {
	for _, figure := range []func(*speed) *float64{
		func(s *speed) *float64 { return &s.rate }, func(s *speed) *float64 { return &s.allocs },
		func(s *speed) *float64 { return &s.cpu },
	} {
		var values []float64
		for i := range all {
			values = append(values, *figure(&all[i]))
		}
		slices.Sort(values)
		*figure(&m) = values[len(values)/2]
	}
	return m
}

// oneRound is a turn of each.
func oneRound(dir, addr string, n, window int) (ours, raw, unbounded speed, err error) {
	a, err := newAgent(filepath.Join(dir, "queue.db"), n)
	if err != nil {
		return ours, raw, unbounded, err
	}
	ours, err = timed(n, func() (time.Duration, error) { return a.drain("mqtt://"+addr, mqtt.TLS{}, window) })
	a.close()
	if err != nil {
		return ours, raw, unbounded, err
	}
	payloads := payloads(n)
	raw, err = timed(n, func() (time.Duration, error) { return publish(addr, payloads, window) })
	if err != nil {
		return ours, raw, unbounded, err
	}
	unbounded, err = timed(n, func() (time.Duration, error) { return publish(addr, payloads, 60_000) })
	return ours, raw, unbounded, err
}

func payloads(n int) [][]byte {
	clock := clock.NewTimekeeper(clock.TrustAlways)
	payloads := make([][]byte, n)
	for i := range payloads {
		payloads[i] = payload.Append(nil, queue.Item{Reading: reading(clock, i+1), Boot: "1-00000000"}, false)
	}
	return payloads
}

// publish is how long the library takes.
func publish(addr string, payloads [][]byte, window int) (time.Duration, error) {
	o := paho.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("raw").SetAutoReconnect(false)
	client := paho.NewClient(o)
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		return 0, t.Error()
	}
	defer client.Disconnect(100)
	began := time.Now()
	flight := make(chan paho.Token, window)
	failed := make(chan error, 1)
	go func() {
		for t := range flight {
			if t.Wait(); t.Error() != nil {
				failed <- t.Error()
			}
		}
		close(failed)
	}()
	for _, p := range payloads {
		flight <- client.Publish("raw/room", 1, false, p)
	}
	close(flight)
	err := <-failed
	return time.Since(began), err
}
