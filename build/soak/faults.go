package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// A site has all agents and their broker.
type site struct {
	broker *mosquitto.Broker
	agents []*agent
	rnd    *rand.Rand
	only   string // the agent that gets faults; empty: all
	counts map[string]int
}

// A fault is caused in an agent. It is over when the function returns.
type fault struct {
	name string
	do   func(s *site, a *agent) error
}

func (s *site) pause(least, most time.Duration) {
	time.Sleep(least + time.Duration(s.rnd.Int64N(int64(most-least))))
}

var linkFaults = []fault{
	{"cut", func(s *site, a *agent) error { a.cable.Cut(); return nil }},
	{"cut in a message", func(s *site, a *agent) error { a.cable.CutAfter(s.rnd.IntN(2000)); return nil }},
	{"pull", func(s *site, a *agent) error {
		a.cable.Pull()
		s.pause(5*time.Second, 40*time.Second)
		a.cable.Plug()
		return nil
	}},
	{"broker restarted", func(s *site, a *agent) error {
		s.broker.Stop()
		s.pause(0, 10*time.Second)
		return s.broker.Run()
	}},
}

var processFaults = []fault{
	{"killed", func(s *site, a *agent) error { a.kill(); return a.start() }},
	{"killed in an outage", func(s *site, a *agent) error {
		a.cable.Pull()
		s.pause(5*time.Second, 20*time.Second)
		a.kill()
		if err := a.start(); err != nil {
			return err
		}
		s.pause(time.Second, 10*time.Second)
		a.cable.Plug()
		return nil
	}},
	{"stopped", func(s *site, a *agent) error { return s.restart(a) }},
	{"reloaded", func(s *site, a *agent) error { return a.cmd.Process.Signal(syscall.SIGHUP) }},
}

var diskFaults = []fault{
	{"disk full", func(s *site, a *agent) error {
		if err := a.card.fill(); err != nil {
			return err
		}
		s.outage(a)
		return a.card.free()
	}},
	{"disk read-only", func(s *site, a *agent) error {
		if err := a.card.breakDown(); err != nil {
			return err
		}
		s.outage(a)
		if hung := a.stop(); hung {
			return fmt.Errorf("%s: SIGTERM took 20 s with a disk that is read-only", a.name)
		}
		if err := a.card.repair(); err != nil {
			return err
		}
		return a.start()
	}},
	{"file truncated", func(s *site, a *agent) error { return s.lose(a, a.card.truncate) }},
	{"file deleted", func(s *site, a *agent) error { return s.lose(a, a.card.remove) }},
}

// outage is an outage that begins after the disk has failed.
func (s *site) outage(a *agent) {
	s.pause(0, 5*time.Second)
	a.cable.Pull()
	s.pause(2*time.Second, 10*time.Second)
	a.cable.Plug()
	s.pause(5*time.Second, 10*time.Second)
}

// lose removes the queue's file or its contents while a backlog is in it.
func (s *site) lose(a *agent, take func() error) error {
	a.cable.Pull()
	s.pause(8*time.Second, 20*time.Second)
	err := take()
	s.pause(2*time.Second, 8*time.Second)
	a.cable.Plug()
	return err
}

func (s *site) restart(a *agent) error {
	if a.stop() {
		return fmt.Errorf("%s: SIGTERM took 20 s", a.name)
	}
	return a.start()
}

// run causes faults for some time, and takes samples of the steady agent.
func (s *site) run(ctx context.Context, length time.Duration, u *usage) error {
	s.counts = map[string]int{}
	steady, killed, broken := s.agents[0], s.agents[1], s.agents[2]
	time.Sleep(10 * time.Second)
	for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil; {
		a, faults := steady, linkFaults
		switch s.rnd.IntN(3) {
		case 1:
			a, faults = killed, append(processFaults, linkFaults...)
		case 2:
			a, faults = broken, append(diskFaults, processFaults...)
		}
		if s.only != "" && a.name != s.only {
			continue
		}
		f := faults[s.rnd.IntN(len(faults))]
		log.Printf("%s: %s", a.name, f.name)
		s.counts[f.name]++
		if err := f.do(s, a); err != nil {
			return fmt.Errorf("%s: %s: %w", a.name, f.name, err)
		}
		for _, a := range s.agents {
			if err := a.cmd.Process.Signal(syscall.Signal(0)); err != nil {
				return fmt.Errorf("%s ended by itself after %q: %w", a.name, f.name, err)
			}
		}
		u.sample(steady.cmd.Process.Pid)
		s.pause(time.Second, 8*time.Second)
	}
	return ctx.Err()
}

// settle waits until no agent has a backlog.
func (s *site) settle(ctx context.Context, rec *broker.Recorder) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	since := time.Now().UnixMilli()
	for _, a := range s.agents {
		drained := func(all []broker.Arrival) bool {
			for i := len(all) - 1; i >= 0; i-- {
				if all[i].Topic != a.name+"/agent/health" {
					continue
				}
				var h struct {
					TS      int64
					Backlog int
				}
				json.Unmarshal([]byte(all[i].Payload), &h)
				return h.TS > since && h.Backlog < 20
			}
			return false
		}
		if !rec.Wait(ctx, drained) {
			text := ""
			for _, m := range rec.Arrivals() {
				if strings.HasPrefix(m.Topic, a.name+"/agent/health") {
					text = m.Payload
				}
			}
			return fmt.Errorf("%s does not drain: %s", a.name, text)
		}
	}
	return nil
}
