package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// An outageCase is the agent of one case, its cable, and the proxy behind the cable. Each case
// has its own, because an agent whose broker has stopped three times in a minute makes long
// pauses, as it should.
type outageCase struct {
	*suite
	outageKind
	proxy *ackProxy
	link  *cable.Cable
	agent *agent
}

// store runs a case for each kind of outage of the broker.
func (s *suite) store(ctx context.Context) {
	stops := 0
	for _, a := range outageKinds {
		c, err := s.open(ctx, a)
		if err != nil {
			s.tell(a.name, "", err)
			continue
		}
		remark, err := c.restart(ctx)
		s.tell(a.name, remark, err)
		if err := c.orderlyStop(ctx); err != nil {
			s.tell(caseStop, "", fmt.Errorf("after %q: %w", a.name, err))
		} else {
			stops++
		}
		c.close()
	}
	if stops > 0 && !s.report.failedAt(s.server.kind.name, caseStop) {
		s.tell(caseStop, "", nil)
	}
}

func (s *suite) open(ctx context.Context, a outageKind) (*outageCase, error) {
	w, err := newAckProxy(s.place.ca, s.server.address())
	if err != nil {
		return nil, err
	}
	c := &outageCase{suite: s, outageKind: a, proxy: w}
	if c.link, err = cable.New(w.address(), nil, cable.Link{}); err == nil {
		c.agent, err = newAgent(s.server, a.clientID, a.clientID, c.link.Addr(), password)
	}
	if err == nil {
		err = c.agent.start()
	}
	if err == nil {
		err = s.live(ctx, a.clientID)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (s *outageCase) close() {
	if s.agent != nil {
		s.agent.kill()
	}
	if s.link != nil {
		s.link.Close()
	}
	s.proxy.close()
}

// orderlyStop: the agent ends its session with DISCONNECT, so that the broker does not
// publish the will.
func (s *outageCase) orderlyStop(ctx context.Context) error {
	if err := s.agent.stop(); err != nil {
		return err
	}
	if err := s.status(ctx, s.clientID, "offline"); err != nil {
		return err
	}
	if !s.proxy.sawOrderlyEnd() {
		return errors.New("the broker said `offline`, and the agent had not ended its session in order")
	}
	return nil
}

// restart stops the broker, does something, starts it, and checks what is missing.
func (s *outageCase) restart(ctx context.Context) (remark string, err error) {
	sessions := s.rec.Sessions()
	if err := s.end(s, ctx); err != nil {
		return "", err
	}
	if !s.server.kind.durable || s.name == caseForgets {
		// A broker that loses sessions acknowledges messages without a subscriber: the agent may
		// only reconnect after the subscriber.
		s.link.Pull()
	}
	if err := s.meanwhile(s, ctx); err != nil {
		return "", err
	}
	if err := s.server.start(ctx); err != nil {
		return "", err
	}
	started := time.Now()
	if err := eventually(ctx, patience, "the recorder is back", func() bool {
		return s.rec.Sessions() > sessions
	}); err != nil {
		return "", err
	}
	s.link.Plug()
	if err := s.live(ctx, s.clientID); err != nil {
		return "", err
	}
	took := time.Since(started)
	if remark, err = s.result(took); err != nil {
		return "", err
	}
	return remark, s.then(s, ctx)
}

// result reports what the broker has lost and what holdfast has.
func (s *outageCase) result(took time.Duration) (string, error) {
	t := s.ledger.count(s.clientID)
	if err := t.wrong(s.proxy.hasAcked); err != nil {
		return "", err
	}
	remark := fmt.Sprintf("%d readings, %d twice, live after %.0f s", t.first, t.twice, took.Seconds())
	switch lost := len(t.lost); {
	case lost > 0 && s.server.kind.durable && s.name != caseForgets:
		return "", fmt.Errorf("the broker lost %d readings that it had acknowledged", lost)
	case lost > 0:
		remark += fmt.Sprintf(", %d lost by the broker after it acknowledged them", lost)
		s.report.fact(s.server.kind.name, "In this run (%s) it lost %d of %d readings after it had acknowledged them.",
			s.name, lost, t.first+lost)
	}
	return remark, nil
}
