package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// A shop is the agent of one case, its cable, and the window that the cable
// leads to. Each case has a shop of its own: the pauses of an agent whose broker
// went three times in a minute are long, as they should be.
type shop struct {
	*suite
	away
	window *window
	link   *cable.Cable
	agent  *agent
}

// store sees the broker go and come back.
func (s *suite) store(ctx context.Context) {
	stops := 0
	for _, a := range aways {
		shop, err := s.open(ctx, a)
		if err != nil {
			s.tell(a.name, "", err)
			continue
		}
		remark, err := shop.comeBack(ctx)
		s.tell(a.name, remark, err)
		if err := shop.orderlyStop(ctx); err != nil {
			s.tell(caseStop, "", fmt.Errorf("after %q: %w", a.name, err))
		} else {
			stops++
		}
		shop.close()
	}
	if stops > 0 && !s.report.failedAt(s.server.kind.name, caseStop) {
		s.tell(caseStop, "", nil)
	}
}

func (s *suite) open(ctx context.Context, a away) (*shop, error) {
	w, err := newWindow(s.place.ca, s.server.address())
	if err != nil {
		return nil, err
	}
	shop := &shop{suite: s, away: a, window: w}
	if shop.link, err = cable.New(w.address(), nil, cable.Link{}); err == nil {
		shop.agent, err = newAgent(s.server, a.clientID, a.clientID, shop.link.Addr(), password)
	}
	if err == nil {
		err = shop.agent.start()
	}
	if err == nil {
		err = s.live(ctx, a.clientID)
	}
	if err != nil {
		shop.close()
		return nil, err
	}
	return shop, nil
}

func (s *shop) close() {
	if s.agent != nil {
		s.agent.kill()
	}
	if s.link != nil {
		s.link.Close()
	}
	s.window.close()
}

// orderlyStop: the agent ends its session itself, and does not leave it to the will.
func (s *shop) orderlyStop(ctx context.Context) error {
	if err := s.agent.stop(); err != nil {
		return err
	}
	if err := s.status(ctx, s.clientID, "offline"); err != nil {
		return err
	}
	if !s.window.sawFarewell() {
		return errors.New("the broker said `offline`, and the agent had not ended its session in order")
	}
	return nil
}

// comeBack ends the broker, does something, starts it, and sees what is missing.
func (s *shop) comeBack(ctx context.Context) (remark string, err error) {
	sessions := s.rec.Sessions()
	if err := s.end(s, ctx); err != nil {
		return "", err
	}
	if !s.server.kind.durable || s.name == caseForgets {
		// A broker that forgets sessions acknowledges what nobody subscribes to:
		// the agent may only come when the subscriber is there again.
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

// result says what the broker has lost and what holdfast has.
func (s *shop) result(took time.Duration) (string, error) {
	t := s.ledger.count(s.clientID)
	if err := t.wrong(s.window.hasAcked); err != nil {
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
