// Command soak runs agents for an hour while everything around them fails: links are cut,
// the broker is restarted, agents are killed, stopped and reloaded, their disks are full,
// read-only, or lose the queue's file. At the end each reading has arrived, or is in a
// declared gap; and the agent that was never restarted uses as much memory, descriptors and
// threads as before.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

func main() {
	log.SetFlags(log.Ltime)
	holdfast := flag.String("holdfast", "", "the agent's binary")
	minutes := flag.Int("minutes", 60, "how long faults go on")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the faults")
	only := flag.String("only", "", "the one agent to which faults happen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log.Printf("%d minutes, seed %d", *minutes, *seed)
	if err := soak(ctx, *holdfast, *only, time.Duration(*minutes)*time.Minute,
		rand.New(rand.NewPCG(*seed, 0))); err != nil {
		log.Fatal("soak: ", err)
	}
}

// names are the agents' client IDs. The steady one is never restarted, and its disk has no
// faults.
var names = []string{"steady", "killed", "broken"}

func soak(ctx context.Context, holdfast, only string, length time.Duration, rnd *rand.Rand) error {
	dir, err := os.MkdirTemp("", "holdfast-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// The broker is always stopped with SIGTERM: if it were killed it would lose messages that
	// it has acknowledged, which is not a fault of the agents.
	b, err := mosquitto.Start(dir, mosquitto.Unbounded+"persistence true\npersistence_location "+dir+"/\n")
	if err != nil {
		return err
	}
	defer b.Stop()
	rec, err := broker.Record(b.Addr, "soak-recorder", "#")
	if err != nil {
		return err
	}
	defer rec.Close()
	s := &site{broker: b, rnd: rnd, only: only}
	for _, name := range names {
		a, err := newAgent(dir, name, holdfast, b.Addr)
		if err != nil {
			return err
		}
		defer a.close()
		s.agents = append(s.agents, a)
	}
	usage := &usage{}
	if err := s.run(ctx, length, usage); err != nil {
		return err
	}
	if err := s.settle(ctx, rec); err != nil {
		return err
	}
	for _, a := range s.agents {
		a.stop()
	}
	time.Sleep(2 * time.Second) // for messages that the broker still has to forward
	holes := account(rec.Arrivals(), os.Stdout)
	flat := usage.report(os.Stdout)
	fmt.Printf("faults: %v\n", s.counts)
	switch {
	case holes > 0:
		return fmt.Errorf("%d readings neither arrived nor lie in a declared gap", holes)
	case !flat:
		return fmt.Errorf("the steady agent grew")
	}
	return nil
}
