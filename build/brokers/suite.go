package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
)

// The names of the cases in the table.
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
	linkOutage = 12 * time.Second // longer than 10 s, so that readings are historical
	patience   = 5 * time.Minute  // the agent pauses for up to one minute, and for up to four after wrong passwords
)

// A suite has the cases of one broker. It has several agents: porch has a plain cable to
// the broker, those called store have a proxy that observes acknowledgements,
// wrong-password has its own, and twin exists twice.
type suite struct {
	place  place
	server *server
	report *report
	rec    *broker.Recorder
	ledger *ledger
	calm   sync.WaitGroup // cases that need a broker without outages
}

func newSuite(p place, s *server, r *report) *suite { return &suite{place: p, server: s, report: r} }

// run runs every case. Those with long pauses of the agent run in the background.
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

// tell reports the result of a case.
func (s *suite) tell(name, remark string, err error) bool {
	return s.report.tell(s.server.kind.name, name, remark, err)
}

// eventually waits for a condition.
func eventually(ctx context.Context, limit time.Duration, what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %s", limit, what)
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

// live waits until both streams of an agent arrive without delay, from now on.
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

// status waits until the status of an agent is word.
func (s *suite) status(ctx context.Context, clientID, word string) error {
	topic := clientID + "/agent/status"
	return eventually(ctx, patience, topic+" is "+word, func() bool { return s.ledger.payload(topic) == word })
}
