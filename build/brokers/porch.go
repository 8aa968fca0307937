package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// porch: the agent has a TLS connection to the broker, through a cable that is pulled. The
// broker runs all the time, so nothing may be missing.
func (s *suite) porch(ctx context.Context) {
	link, err := cable.New(s.server.address(), nil, cable.Link{})
	if err != nil {
		s.tell(caseOutage, "", err)
		return
	}
	defer link.Close()
	a, err := newAgent(s.server, "porch", "porch", link.Addr(), password)
	if err != nil {
		s.tell(caseOutage, "", err)
		return
	}
	defer a.kill()
	remark, err := s.outage(ctx, a, link)
	if s.tell(caseOutage, remark, err) {
		a.kill()
		s.tell(caseWill, "", s.status(ctx, "porch", "offline"))
	}
}

func (s *suite) outage(ctx context.Context, a *agent, link *cable.Cable) (remark string, err error) {
	if err := a.start(); err != nil {
		return "", err
	}
	if err := s.live(ctx, "porch"); err != nil {
		return "", err
	}
	link.Pull()
	pause(ctx, linkOutage)
	link.Plug()
	if err := s.live(ctx, "porch"); err != nil {
		return "", err
	}
	t := s.ledger.count("porch")
	if err := t.wrong(func(key) bool { return false }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d readings, %d came twice", t.first, t.twice), s.history()
}

// history: old readings are marked as historical, and nothing else is.
func (s *suite) history() error {
	old := 0
	for _, stream := range streams {
		for _, r := range s.ledger.on("porch/" + stream) {
			if r.Historical {
				old++
			}
		}
		for _, r := range s.ledger.on("porch/" + stream + "/state") {
			if r.Historical {
				return errors.New("a state of " + stream + " says that it is historical")
			}
		}
	}
	if old == 0 {
		return errors.New("no reading of the outage is marked historical")
	}
	return nil
}
