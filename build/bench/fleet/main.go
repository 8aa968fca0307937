// Command fleet stops the Mosquitto of a thousand agents, and counts how they reconnect:
//
//	go run ./build/bench/fleet                       # stopped for 70 s
//	go run ./build/bench/fleet -away 5m -rate 1      # and each sends one reading a second
//
// The links are in this process, each with a queue in memory or on disk, and connect
// through a proxy that counts their CONNECTs. One recorder with a persistent session
// subscribes to all readings; readings that it gets twice or not at all are counted too.
// Mosquitto queues its default number of messages: 1,000.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

type job struct {
	agents int
	every  time.Duration // between readings of one agent
	away   time.Duration
	rate   int
	after  time.Duration // how long they are watched
}

func main() {
	var j job
	flag.IntVar(&j.agents, "agents", 1000, "how many")
	flag.DurationVar(&j.every, "every", 10*time.Second, "between readings of one agent")
	flag.DurationVar(&j.away, "away", 70*time.Second, "how long the broker is away")
	flag.DurationVar(&j.after, "after", 90*time.Second, "how long they are watched when it is back")
	flag.IntVar(&j.rate, "rate", 0, "drain.rate of each; 0: no bound")
	flag.Parse()
	if err := j.run(); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func (j job) run() error {
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-fleet")
	if err != nil {
		if dir, err = os.MkdirTemp("", "holdfast-fleet"); err != nil {
			return err
		}
	}
	defer os.RemoveAll(dir)
	b, err := mosquitto.Start(dir, "persistence true\npersistence_location "+dir+"/\nsys_interval 1\n")
	if err != nil {
		return err
	}
	defer b.Stop()
	r, err := record(b.Addr)
	if err != nil {
		return err
	}
	defer r.client.Disconnect(100)
	var door counter
	wire, err := cable.New(b.Addr, door.tap, cable.Link{})
	if err != nil {
		return err
	}
	defer wire.Close()

	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range j.agents {
		if err := j.start(ctx, &all, wire.Addr(), filepath.Join(dir, fmt.Sprint(i), "queue.db"), i); err != nil {
			stop()
			return err
		}
	}
	time.Sleep(40 * time.Second) // a session counts as stable by then
	b.Stop()
	time.Sleep(j.away)
	door.reset()
	if err := b.Run(); err != nil {
		stop()
		return err
	}
	time.Sleep(j.after)
	connects := door.times()
	stop()
	all.Wait()
	put, got, twice, queued := r.result()
	fmt.Printf("away %v: %d CONNECTs, at most %d in a second, the last after %v\n", j.away, len(connects),
		perSecond(connects),
		connects[len(connects)-1].Sub(connects[0]).Round(time.Second))
	fmt.Printf("readings: the newest say %d, %d arrived, %d of them twice; the broker queued %d messages at most by "+
		"its own count (its retained ones come and go a second earlier or later), and dropped %d\n",
		put, got, twice, queued, r.dropped())
	return nil
}

// perSecond is the maximum number of events in any second.
func perSecond(times []time.Time) (worst int) {
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for i := range times {
		for times[i].Sub(times[first]) >= time.Second {
			first++
		}
		worst = max(worst, i-first+1)
	}
	return worst
}
