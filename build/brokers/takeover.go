package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// takeOver: a card was cloned, and two agents have the same client ID. The agent reports
// it, and works after the clone has ended.
func (s *suite) takeOver(ctx context.Context) {
	remark, err := s.cloneCard(ctx, sync.OnceFunc(s.calm.Done))
	s.tell(caseTakeOver, remark, err)
}

func (s *suite) cloneCard(ctx context.Context, observed func()) (remark string, err error) {
	defer observed()
	var two [2]*agent
	for i, name := range []string{"twin", "clone"} {
		if two[i], err = newAgent(s.server, name, "twin", s.server.address(), password); err != nil {
			return "", err
		}
		defer two[i].kill()
	}
	if err := two[0].start(); err != nil {
		return "", err
	}
	if err := s.live(ctx, "twin"); err != nil {
		return "", err
	}
	boot := s.ledger.on("twin/agent/info")[0].Boot
	if err := s.runClone(ctx, two[1], boot); err != nil {
		return "", err
	}
	observed()
	if !s.reportedTakeOver(boot) {
		return "", fmt.Errorf("no `take_over` within %v", takeOverTime)
	}
	back := time.Now()
	if err := s.backAgain(ctx, boot, back); err != nil {
		return "", err
	}
	births := 0
	for _, r := range s.ledger.on("twin/agent/info") {
		if r.Boot == boot {
			births++
		}
	}
	return fmt.Sprintf("reported, %d births, back %.0f s after the other went", births, time.Since(back).Seconds()), nil
}

// takeOverTime is long enough for the agent's proof: the birth of the other client on its
// own topic at the start of two sessions, between pauses that double up to a minute,
// because the broker ends each session.
const takeOverTime = 4 * time.Minute

// runClone runs the clone until the agent has reported it.
func (s *suite) runClone(ctx context.Context, clone *agent, boot string) error {
	if err := clone.start(); err != nil {
		return err
	}
	err := eventually(ctx, patience, "the clone is online", func() bool {
		for _, r := range s.ledger.on("twin/agent/info") {
			if r.Boot != boot {
				return true
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	for end := time.Now().Add(takeOverTime); ctx.Err() == nil && time.Now().Before(end) && !s.reportedTakeOver(boot); {
		pause(ctx, 100*time.Millisecond)
	}
	return clone.stop()
}

// reportedTakeOver reports whether the agent has reported the clone.
func (s *suite) reportedTakeOver(boot string) bool {
	for _, r := range s.ledger.on("twin/agent/event") {
		if r.Event == "take_over" && r.Boot == boot {
			return true
		}
	}
	return false
}

// backAgain waits until the agent's readings arrive without delay, and its retained birth
// is its own.
func (s *suite) backAgain(ctx context.Context, boot string, since time.Time) error {
	err := eventually(ctx, patience, "the agent is back", func() bool {
		all := s.ledger.on("twin/load")
		last := all[len(all)-1]
		return last.Boot == boot && s.ledger.live("twin/load", since)
	})
	if err != nil {
		return err
	}
	return s.status(ctx, "twin", "online")
}
