package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// An outageKind is a kind of outage of a broker: how it ends, what happens before its restart,
// and what has to be true when the agent is back.
type outageKind struct {
	name, clientID       string
	end, meanwhile, then func(*outageCase, context.Context) error
}

// outageKinds: with SIGTERM, with SIGKILL, with SIGKILL while a backlog drains, and with loss of
// all data.
var outageKinds = []outageKind{
	{caseRestart, "store-a", (*outageCase).stop, (*outageCase).outage, (*outageCase).nothing},
	{caseCrash, "store-b", (*outageCase).crash, (*outageCase).nothing, (*outageCase).nothing},
	{caseDrain, "store-c", (*outageCase).crashInDrain, (*outageCase).nothing, (*outageCase).nothing},
	{caseForgets, "store-d", (*outageCase).stop, (*outageCase).forget, (*outageCase).retained},
}

const (
	brokerOutage = 10 * time.Second
	drainBacklog = 5 * time.Second // long enough for a backlog of more than ten windows
	drainBegun   = 50              // readings of the backlog that the broker has acknowledged before the kill
)

func (*outageCase) nothing(context.Context) error { return nil }

func (s *outageCase) stop(context.Context) error   { return s.server.stop() }
func (s *outageCase) crash(context.Context) error  { s.server.crash(); return nil }
func (s *outageCase) forget(context.Context) error { return s.server.clear() }

// crashInDrain kills the broker while the maximum number of messages is in flight.
func (s *outageCase) crashInDrain(ctx context.Context) error {
	s.link.Pull()
	pause(ctx, drainBacklog)
	begun := s.proxy.after(drainBegun)
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

func (s *outageCase) outage(ctx context.Context) error {
	if !s.server.kind.slow {
		pause(ctx, brokerOutage)
	}
	return nil
}

// retained checks the retained messages for a new subscriber. The state of still was
// published before the broker lost its data, and has not changed.
func (s *outageCase) retained(ctx context.Context) error {
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
