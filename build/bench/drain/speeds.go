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

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// A speed is the cost of sending a message.
type speed struct {
	rate   float64 // messages a second
	allocs float64 // allocations of the process, per message
	cpu    float64 // CPU time of the process in µs, per message
}

// cpuTime is the CPU time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// timed measures the sending of n messages.
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

// A client is what is measured: the agent with one version of MQTT, or only a library.
type client struct {
	name string
	run  func(dir, addr string, n, window int) (speed, error)
}

// clients are measured in turn, in this order.
var clients = []client{
	{"holdfast, MQTT 3.1.1", ours(mqtt.V311)},
	{"holdfast, MQTT 5", ours(mqtt.V5)},
	{"the library, MQTT 3.1.1", library(publish, 0)},
	{"the library, MQTT 3.1.1, as many in flight as it can", library(publish, 60_000)},
	{"the library, MQTT 5", library(publish5, 0)},
}

// ours measures the agent, from its queue to the last acknowledgement in the queue.
func ours(version mqtt.Version) func(string, string, int, int) (speed, error) {
	return func(dir, addr string, n, window int) (speed, error) {
		a, err := newAgent(filepath.Join(dir, version.String(), "queue.db"), bench, n)
		if err != nil {
			return speed{}, err
		}
		defer a.close()
		return timed(n, func() (time.Duration, error) { return a.drain("mqtt://"+addr, version, mqtt.TLS{}, window) })
	}
}

// library measures only a client, with payloads that exist already. fixed is its window, if
// it differs from that of the agent.
func library(publish func(string, [][]byte, int) (time.Duration, error), fixed int) func(string, string, int,
	int) (speed, error) {
	return func(_, addr string, n, window int) (speed, error) {
		if fixed > 0 {
			window = fixed
		}
		payloads := payloads(n)
		return timed(n, func() (time.Duration, error) { return publish(addr, payloads, window) })
	}
}

// wide is a setting of the broker: its own limit of messages in flight, which is 20 with
// MQTT 5, must not limit the window.
const wide = "max_inflight_messages 0\n"

// speeds measures each client in turn, prints each round, and returns the medians, in the
// order of clients, and the median of the rounds' results of against.
func speeds(ctx context.Context, dir string, n, window, rounds int) (medians []speed, ratio float64, err error) {
	b, err := mosquitto.Start(dir, wide)
	if err != nil {
		return nil, 0, err
	}
	defer b.Stop()
	all := make([][]speed, len(clients))
	var ratios []float64
	for round := range rounds {
		var turn []speed
		home := filepath.Join(dir, fmt.Sprintf("%d-%d", window, round))
		for i, c := range clients {
			s, err := c.run(home, b.Addr, n, window)
			if err = errors.Join(err, ctx.Err()); err != nil {
				return nil, 0, fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Printf("%-54s %6.0f/s %5.1f µs %5.2f allocations a message\n", c.name, s.rate, s.cpu, s.allocs)
			all[i], turn = append(all[i], s), append(turn, s)
		}
		ratios = append(ratios, against(turn))
	}
	for i := range all {
		medians = append(medians, median(all[i]))
	}
	slices.Sort(ratios)
	ratio = ratios[rounds/2]
	fmt.Printf("median of %d rounds, window %d, %d readings: MQTT 5 to the better of 3.1.1 and the library of 5 %.2f, "+
		"want 0.9\n", rounds, window, n, ratio)
	return medians, ratio, nil
}

// against is the agent's rate with MQTT 5, divided by the higher of its rate with 3.1.1 and
// the rate of the library of MQTT 5.
func against(turn []speed) float64 {
	return turn[1].rate / max(turn[0].rate, turn[4].rate)
}

// median is the median of each figure.
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

func payloads(n int) [][]byte {
	clock := clock.NewTimekeeper(clock.TrustAlways)
	payloads := make([][]byte, n)
	for i := range payloads {
		payloads[i] = payload.Append(nil, queue.Item{Reading: reading(clock, bench.stream, i+1), Boot: "1-00000000"}, false)
	}
	return payloads
}
