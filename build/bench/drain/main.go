// Command drain measures how fast a backlog is sent on loopback, compared with the MQTT
// libraries:
//
//	go run ./build/bench/drain            # 200,000 readings, five rounds
//	go run ./build/bench/drain -n 20000 -window 128
//
// It starts its own Mosquitto. holdfast is the queue and the link, up to the last
// acknowledgement in the queue, with MQTT 3.1.1 and with 5; the libraries are
// paho.mqtt.golang and paho.golang with the same topics and payloads, encoded beforehand,
// and the same window. They run in turn, and the medians of the rounds count, because times
// depend on the load of the machine. What holdfast allocates more than a library is
// allocated by the queue, the link and the encoder.
//
// Then it prints the bytes of a reading on the wire, with and without TLS. With -docs it
// writes its section of docs/benchmarks.md instead: both windows, and the bytes that topic
// aliases save on a slow link.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/holdfast-iot/holdfast/build/markdown"
	"github.com/holdfast-iot/holdfast/uplink"
)

// A plan has the options of a run.
type plan struct {
	n, window, rounds int
	wire              bool
	docs              string // the page with the section to write; empty: none
}

func main() {
	var p plan
	flag.IntVar(&p.n, "n", 200_000, "readings")
	flag.IntVar(&p.window, "window", uplink.DefaultWindow, "messages in flight")
	flag.IntVar(&p.rounds, "rounds", 5, "rounds of each")
	flag.BoolVar(&p.wire, "wire", true, "say what a reading costs on the wire, which takes a minute and a half")
	flag.StringVar(&p.docs, "docs", "", "write the section of the page in this `file`")
	profile := flag.String("cpuprofile", "", "write a profile of the processor's time to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := profiled(*profile, func() error { return p.run(ctx) }); err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		stop()
		os.Exit(1)
	}
}

// profiled calls do, with a CPU profile if a path is given.
func profiled(path string, do func() error) error {
	if path == "" {
		return do()
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return do()
}

func (p plan) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "holdfast-drain")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if p.docs != "" {
		text, err := p.section(ctx, dir)
		if err != nil {
			return err
		}
		return markdown.ReplaceSection(p.docs, "drain", text)
	}
	if _, _, err := speeds(ctx, dir, p.n, p.window, p.rounds); err != nil || !p.wire {
		return err
	}
	return wires(dir, p.window)
}
