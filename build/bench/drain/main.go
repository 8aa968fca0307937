// Command drain measures how fast a backlog goes out on loopback, beside the
// MQTT library alone:
//
//	go run ./build/bench/drain            # 200,000 readings, five rounds
//	go run ./build/bench/drain -n 20000 -window 128
//
// It starts a Mosquitto of its own. Ours is the queue, the link and the library,
// up to the last acknowledgement in the queue; raw is the library with the same
// topics and payloads, made beforehand, and the same window; unbounded is raw
// without one. They take turns, and the median of the rounds' ratios counts:
// times are of the machine and of what else it does. What ours allocates more
// than raw is the queue's, the link's and the encoder's.
//
// Then it says what a reading costs on the wire, with and without TLS.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

func main() {
	n := flag.Int("n", 200_000, "readings")
	window := flag.Int("window", uplink.DefaultWindow, "messages in flight")
	rounds := flag.Int("rounds", 5, "rounds of each")
	wire := flag.Bool("wire", true, "say what a reading costs on the wire, which takes a minute and a half")
	profile := flag.String("cpuprofile", "", "write a profile of the processor's time to this file")
	flag.Parse()
	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			fmt.Fprintln(os.Stderr, "drain:", err)
			os.Exit(1)
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			fmt.Fprintln(os.Stderr, "drain:", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	if err := run(*n, *window, *rounds, *wire); err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}

func run(n, window, rounds int, wire bool) error {
	dir, err := os.MkdirTemp("", "holdfast-drain")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := speeds(dir, n, window, rounds); err != nil || !wire {
		return err
	}
	return wires(dir, window)
}

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

// speeds compares the agent with the library.
func speeds(dir string, n, window, rounds int) error {
	b, err := mosquitto.Start(dir, "")
	if err != nil {
		return err
	}
	defer b.Stop()
	var ratios, more []float64
	for round := range rounds {
		a, err := newAgent(filepath.Join(dir, fmt.Sprint(round), "queue.db"), n)
		if err != nil {
			return err
		}
		ours, err := timed(n, func() (time.Duration, error) { return a.drain("mqtt://"+b.Addr, mqtt.TLS{}, window) })
		a.close()
		if err != nil {
			return err
		}
		payloads := payloads(n)
		raw, err := timed(n, func() (time.Duration, error) { return publish(b.Addr, payloads, window) })
		if err != nil {
			return err
		}
		free, err := timed(n, func() (time.Duration, error) { return publish(b.Addr, payloads, 60_000) })
		if err != nil {
			return err
		}
		fmt.Printf("ours %6.0f/s  raw %6.0f/s  unbounded %6.0f/s  ours to raw %.2f, to unbounded %.2f  "+
			"allocations %.2f, raw %.2f, unbounded %.2f  CPU %.1f µs, raw %.1f, unbounded %.1f\n",
			ours.rate, raw.rate, free.rate, ours.rate/raw.rate, ours.rate/free.rate,
			ours.allocs, raw.allocs, free.allocs, ours.cpu, raw.cpu, free.cpu)
		ratios, more = append(ratios, ours.rate/raw.rate), append(more, ours.allocs-raw.allocs)
	}
	slices.Sort(ratios)
	slices.Sort(more)
	fmt.Printf("median %.2f, want 0.9 (window %d, %d readings, %d rounds); %.2f allocations a message more than raw\n",
		ratios[rounds/2], window, n, rounds, more[rounds/2])
	return nil
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
