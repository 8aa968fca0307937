// Command shaped measures the uplink on a slow and long link, 20 kbit/s and
// 600 ms there and back, with 100,000 readings waiting:
//
//	go run ./build/bench/shaped                 # a quarter of an hour
//	go run ./build/bench/shaped -cutting 1m     # less of it under cuts
//
// The agent's queue and link are in this process, the broker is a Mosquitto of
// its own, and between them is cmd/holdfast/cable. Packet headers are counted.
// It says how much of the link readings and states use together, how long an
// alarm takes from Put to its acknowledgement in the queue, and, while the
// connection is cut every 5 s on average in the middle of a message, what is
// lost, what comes twice and what comes out of order. At the end all that waits
// goes out over loopback, and nothing may be missing.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/link"
	"github.com/holdfast-iot/holdfast/uplink"
)

type job struct {
	shape   link.Shape
	waiting int           // readings, at the start
	alarms  int           // number of alarms to measure
	settle  time.Duration // before measurements start
	cutting time.Duration
	every   time.Duration // between cuts, on average
	states  time.Duration // between states of one stream
	window  int
}

func main() {
	j := job{shape: link.Shape{Buffer: 16 << 10}}
	flag.IntVar(&j.shape.Rate, "rate", 20_000, "bits a second, each way")
	flag.DurationVar(&j.shape.Delay, "delay", 300*time.Millisecond, "each way")
	flag.IntVar(&j.waiting, "waiting", 100_000, "readings that wait")
	flag.IntVar(&j.alarms, "alarms", 100, "alarms that are timed")
	flag.DurationVar(&j.settle, "settle", 20*time.Second, "before anything is measured")
	flag.DurationVar(&j.cutting, "cutting", 10*time.Minute, "how long the connection is cut")
	flag.DurationVar(&j.every, "every", 5*time.Second, "between cuts, on average")
	flag.DurationVar(&j.states, "states", 500*time.Millisecond, "between states")
	flag.IntVar(&j.window, "window", uplink.DefaultWindow, "messages in flight at most")
	flag.Parse()
	if err := j.run(); err != nil {
		fmt.Fprintln(os.Stderr, "shaped:", err)
		os.Exit(1)
	}
}

func (j job) run() error {
	dir, err := os.MkdirTemp("", "holdfast-shaped")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := open(dir, j)
	if err != nil {
		return err
	}
	defer s.close()
	s.link(s.cable.Addr())
	time.Sleep(j.settle)
	j.timeAlarms(s)
	cuts := j.cut(s)
	s.unlink()
	s.link(s.broker.Addr) // the rest over loopback
	s.drained()
	s.unlink()
	return j.evaluate(s, cuts)
}

// timeAlarms measures the use of the link, and how long alarms take.
func (j job) timeAlarms(s *site) {
	before, began := s.meter.snapshot(), time.Now()
	var waits, sends []time.Duration
	for range j.alarms {
		time.Sleep(time.Duration(700+rand.IntN(1800)) * time.Millisecond)
		wait, send := s.alarm()
		waits, sends = append(waits, wait), append(sends, send)
	}
	used, link := s.meter.snapshot().less(before), float64(j.shape.Rate)/8*time.Since(began).Seconds()
	percent := func(bytes int) float64 { return 100 * float64(bytes) / link }
	fmt.Printf("link        %d bit/s, %v each way, %d readings waiting, a state every %v\n", j.shape.Rate,
		j.shape.Delay, j.waiting, j.states)
	fmt.Printf("used        readings %.1f %%, states %.1f %%, together %.1f %%, want 90 (others %.1f %%; %.0f bytes a "+
		"packet)\n",
		percent(used.readings), percent(used.states), percent(used.readings+used.states), percent(used.others),
		float64(used.all())/float64(used.packets))
	if len(waits) == 0 {
		return
	}
	fmt.Printf("alarms      %s; want p99 in a round trip and 300 ms, %v\n", spread(waits),
		2*j.shape.Delay+300*time.Millisecond)
	fmt.Printf("  to send   %s: of these, what this machine takes until the link has it\n", spread(sends))
}

func spread(waits []time.Duration) string {
	slices.Sort(waits)
	at := func(percent int) time.Duration {
		return waits[max(1, len(waits)*percent/100)-1].Round(time.Millisecond)
	}
	return fmt.Sprintf("%d: median %v, p90 %v, p99 %v, worst %v", len(waits), at(50), at(90), at(99), at(100))
}

// cut resets the connection repeatedly, in the middle of a message.
func (j job) cut(s *site) (cuts int) {
	for end := time.Now().Add(j.cutting); time.Now().Before(end); {
		pause := time.Duration(rand.ExpFloat64() * float64(j.every))
		time.Sleep(min(pause, time.Until(end)))
		s.putAlarm()
		if s.cable.CutAfter(rand.IntN(400)) { // a message with its headers has about 160 bytes
			cuts++
		}
	}
	return cuts
}

func (j job) evaluate(s *site, cuts int) error {
	v := s.seen.result()
	lost := s.put.readings + s.put.alarms - v.different
	fmt.Printf("cuts        %d in %v, %d sessions: of %d readings and %d alarms %d lost, %d out of order\n",
		cuts, j.cutting, len(s.meter.snapshot().sessions), s.put.readings, s.put.alarms, lost, v.disorder)
	fmt.Printf("duplicates  %d, %.1f a cut, %d after the worst; want at most a window of %d\n",
		v.twice, float64(v.twice)/float64(max(cuts, 1)), v.worst(s.meter.snapshot().sessions), j.window)
	if lost != 0 || v.disorder != 0 {
		return fmt.Errorf("%d lost, %d out of order", lost, v.disorder)
	}
	return nil
}
