package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
	"github.com/holdfast-iot/holdfast/build/rig/rawmqtt"
)

// agentLimits are the limits that an agent reaches in these cases. Messages of the stream
// big are larger, and more readings are in flight to the recorder. Of the connections, one
// is the recorder's and one the agent's.
var agentLimits = limits{size: 8_000, inflight: 5, connections: 3}

// limitTime is how long a message may delay all others until it is set aside. With RabbitMQ
// the agent waits 18 s for each missing acknowledgement.
const limitTime = 10 * time.Minute

// The client IDs of the agents.
const (
	limitedAgent = "limited"
	lateAgent    = "late"
)

// reachLimits runs the cases with limits, on brokers that have such settings.
func reachLimits(ctx context.Context, p place, k *kind, rep *report) {
	s, err := newLimitedServer(p, k, filepath.Join(p.dir, k.name+"-limits"), agentLimits)
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		rep.tell(k.name, caseTooLarge, "", err)
		return
	}
	defer s.kill()
	if err := newSuite(p, s, rep).limited(ctx); err != nil {
		rep.tell(k.name, caseTooLarge, "", err)
	}
}

// limited starts an agent, and makes it reach each limit.
func (s *suite) limited(ctx context.Context) (err error) {
	if s.rec, err = broker.RecordAs(s.server.login("recorder"), "#"); err != nil {
		return err
	}
	defer s.rec.Close()
	s.ledger = newLedger(s.rec)
	a, err := newAgent(s.server, limitedAgent, limitedAgent, s.server.address(), password)
	if err != nil {
		return err
	}
	defer a.kill()
	if err := a.addLarge(agentLimits.size); err != nil {
		return err
	}
	if err := a.start(); err != nil {
		return err
	}
	remark, err := s.tooLarge(ctx, a)
	if !s.tell(caseTooLarge, remark, err) || !slices.Contains(s.server.kind.limits, caseConnections) {
		return nil
	}
	if err := a.stop(); err != nil {
		return err
	}
	remark, err = s.noConnection(ctx)
	s.tell(caseConnections, remark, err)
	return nil
}

// addLarge adds a sensor to the agent's configuration whose messages are larger than size.
func (a *agent) addLarge(size int) error {
	f, err := os.OpenFile(a.config(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "  big: {kind: simulated, steps: {states: [%s, %s], every: 24h}}\n",
		strings.Repeat("x", size), strings.Repeat("y", size))
	return err
}

// tooLarge: the log names the stream whose message the broker refuses, and all readings of
// other streams arrive, in order.
func (s *suite) tooLarge(ctx context.Context, a *agent) (remark string, err error) {
	began := time.Now()
	var line string
	if err := eventually(ctx, limitTime, "the log names the stream of the large message", func() bool {
		line = loggedError(a, "stream=big")
		return line != ""
	}); err != nil {
		return "", err
	}
	if err := s.live(ctx, limitedAgent); err != nil {
		return "", err
	}
	took := time.Since(began)
	t := s.ledger.count(limitedAgent)
	if err := t.wrong(func(key) bool { return false }); err != nil {
		return "", err
	}
	if n := len(s.ledger.on(limitedAgent + "/big")); n > 0 {
		return "", errors.New("the broker took the large message: it has no limit")
	}
	return fmt.Sprintf("%d readings, %d twice, live after %.0f s; the log: %s", t.first, t.twice, took.Seconds(),
		line), nil
}

// loggedError is the message of the first warning or error of an agent's log that contains
// words.
func loggedError(a *agent, words string) string {
	for line := range strings.Lines(a.log.String()) {
		bad := strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN")
		if bad && strings.Contains(line, words) {
			_, text, _ := strings.Cut(line, "msg=")
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// noConnection: when an agent starts, other clients use all allowed connections. The log
// reports that, and when a connection is free every reading arrives.
func (s *suite) noConnection(ctx context.Context) (remark string, err error) {
	a, err := newAgent(s.server, lateAgent, lateAgent, s.server.address(), password)
	if err != nil {
		return "", err
	}
	defer a.kill()
	others, err := s.occupy(ctx)
	if err != nil {
		return "", err
	}
	release := func() {
		for _, c := range others {
			c.Disconnect()
		}
		others = nil
	}
	defer func() { release() }()
	if err := a.start(); err != nil {
		return "", err
	}
	var line string
	if err := eventually(ctx, patience, "the log says that the broker refuses", func() bool {
		line = refusedIn(a.log.String())
		return line != ""
	}); err != nil {
		return "", fmt.Errorf("%w: %s", err, a.log.String())
	}
	release()
	if err := s.live(ctx, lateAgent); err != nil {
		return "", err
	}
	t := s.ledger.count(lateAgent)
	if err := t.wrong(func(key) bool { return false }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d readings; the log: %s", t.first, line), nil
}

// refusedIn is the first log line about the refused connection.
func refusedIn(log string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "uplink down") {
			_, text, _ := strings.Cut(line, "msg=")
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// maxOthers limits the number of clients: Mosquitto 2.0.11 accepts more than its limit
// after it has closed connections because of errors.
const maxOthers = 100

// occupy connects clients until the broker refuses more.
func (s *suite) occupy(ctx context.Context) (all []*rawmqtt.Client, err error) {
	a := &asker{ctx: ctx, server: s.server, version: rawmqtt.V3}
	for i := range maxOthers {
		c, p, err := a.dial(rawmqtt.Options{ClientID: fmt.Sprint("other", i)})
		if err != nil || p.Code != 0 {
			if c != nil {
				c.Cut()
			}
			return all, nil
		}
		all = append(all, c)
	}
	for _, c := range all {
		c.Disconnect()
	}
	return nil, fmt.Errorf("the broker lets %d clients in: it has no limit", len(all))
}
