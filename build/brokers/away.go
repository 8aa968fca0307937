package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// An away is a way for a broker to be gone: how it ends, what happens before it is
// started, and what has to be so when the agent is back.
type away struct {
	name, clientID       string
	end, meanwhile, then func(*shop, context.Context) error
}

// aways: in order, by SIGKILL as things are and while a backlog drains, and
// without its memory.
var aways = []away{
	{caseRestart, "store-a", (*shop).stop, (*shop).outage, (*shop).nothing},
	{caseCrash, "store-b", (*shop).crash, (*shop).nothing, (*shop).nothing},
	{caseDrain, "store-c", (*shop).crashInDrain, (*shop).nothing, (*shop).nothing},
	{caseForgets, "store-d", (*shop).stop, (*shop).forget, (*shop).retained},
}

const (
	brokerOutage = 10 * time.Second
	drainBacklog = 5 * time.Second // makes a backlog of ten windows and more
	drainBegun   = 50              // readings of it that the broker has acknowledged
)

func (*shop) nothing(context.Context) error { return nil }

func (s *shop) stop(context.Context) error   { return s.server.stop() }
func (s *shop) crash(context.Context) error  { s.server.crash(); return nil }
func (s *shop) forget(context.Context) error { return s.server.clear() }

// crashInDrain kills the broker while as much is in flight as ever is.
func (s *shop) crashInDrain(ctx context.Context) error {
	s.link.Pull()
	pause(ctx, drainBacklog)
	begun := s.window.after(drainBegun)
	s.link.Plug()
	select {
	case <-begun:
		return s.crash(ctx)
	case <-time.After(patience):
		return fmt.Errorf("not within %v: the backlog drains", patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *shop) outage(ctx context.Context) error {
	if !s.server.kind.slow {
		pause(ctx, brokerOutage)
	}
	return nil
}

// retained sees what a subscriber finds that comes now. The state of still was
// told before the broker forgot it, and has not changed.
func (s *shop) retained(ctx context.Context) error {
	for what, want := range map[string]string{
		"agent/status": "online",
		"agent/info":   `"streams"`,
		"load/state":   `"value"`,
		"gate/state":   `"state"`,
		"still/state":  `"state":"closed"`,
	} {
		topic := s.clientID + "/" + what
		got, err := broker.RetainedAs(ctx, s.server.login("late"), topic)
		if err != nil {
			return err
		}
		if !strings.Contains(got, want) {
			return fmt.Errorf("retained on %s: %s", topic, got)
		}
	}
	return nil
}
