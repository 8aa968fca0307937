package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// The cases, as the table calls them.
const (
	caseStart    = "start"
	caseOutage   = "link cut for 12 s"
	caseRestart  = "broker away for 10 s"
	caseCrash    = "broker killed"
	caseDrain    = "broker killed in a drain"
	caseForgets  = "broker lost its memory"
	casePassword = "bad password"
	caseTakeOver = "client ID taken over"
	caseWill     = "will"
	caseStop     = "orderly stop"
	caseOrders   = "orders"
	caseSigned   = "signed orders"
	caseDenied   = "orders denied"
	caseFlood    = "orders flooded"
	caseCodes    = "codes"
	caseAnswers  = "answers"
	caseTooLarge = "a message that is too large"
	caseEnd      = "end"

	caseConnections = "no connection left"
)

const (
	linkOutage = 12 * time.Second // beyond 10 s a reading is historical
	patience   = 5 * time.Minute  // the agent's own pauses go up to one minute, and to four after wrong passwords
)

// A suite is what happens on one broker. Several agents take part: porch has a
// plain cable to the broker, those called store a window through which one sees
// what is acknowledged, wrong-password has one, and twin exists twice.
type suite struct {
	place  place
	server *server
	report *report
	rec    *broker.Recorder
	ledger *ledger
	calm   sync.WaitGroup // cases that need a broker that stays
}

func newSuite(p place, s *server, r *report) *suite { return &suite{place: p, server: s, report: r} }

// run runs every case. Those that wait for the agent's longer pauses do so in
// the background.
func (s *suite) run(ctx context.Context) (err error) {
	if s.rec, err = broker.RecordAs(s.server.login("recorder"), "#"); err != nil {
		return err
	}
	defer s.rec.Close()
	s.ledger = newLedger(s.rec)
	var background sync.WaitGroup
	defer background.Wait()
	s.calm.Add(3)
	background.Go(func() { s.badPassword(ctx) })
	background.Go(func() { s.takeOver(ctx) })
	background.Go(func() { s.orders(ctx) })
	s.porch(ctx)
	s.calm.Wait()
	s.store(ctx)
	return nil
}

// tell reports a case.
func (s *suite) tell(name, remark string, err error) bool {
	return s.report.tell(s.server.kind.name, name, remark, err)
}

// eventually waits until something is so.
func eventually(ctx context.Context, most time.Duration, what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %s", most, what)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// live waits until both streams of an agent arrive as they happen, from now on.
func (s *suite) live(ctx context.Context, clientID string) error {
	now := time.Now()
	for _, stream := range streams {
		topic := clientID + "/" + stream
		if err := eventually(ctx, patience, topic+" is live", func() bool {
			return s.ledger.live(topic, now)
		}); err != nil {
			return err
		}
	}
	return s.status(ctx, clientID, "online")
}

// status waits until the last word of an agent is this one.
func (s *suite) status(ctx context.Context, clientID, word string) error {
	topic := clientID + "/agent/status"
	return eventually(ctx, patience, topic+" is "+word, func() bool { return s.ledger.payload(topic) == word })
}
