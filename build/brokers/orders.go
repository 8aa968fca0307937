package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// An answer is the result of an order in agent/event.
type answer struct {
	Event, ID, Output, Result, Why string
	Boot                           string
	Seq                            uint64
}

// answers are the answers of an agent, in order, as "result word": the word is the first
// one of why. An event may be delivered twice.
func (s *suite) answers(clientID, output, id string) (all []string) {
	seen := map[key]bool{}
	for _, a := range s.rec.Arrivals() {
		var e answer
		if a.Topic != clientID+"/agent/event" || json.Unmarshal([]byte(a.Payload), &e) != nil || e.Event != "command" ||
			e.Output != output || e.ID != id || seen[key{a.Topic, e.Boot, e.Seq}] {
			continue
		}
		seen[key{a.Topic, e.Boot, e.Seq}] = true
		word, _, _ := strings.Cut(e.Why, ":")
		all = append(all, strings.TrimSpace(e.Result+" "+word))
	}
	return all
}

// answered waits until the answers to orders with an ID are these.
func (s *suite) answered(ctx context.Context, clientID, id string, want ...string) error {
	return s.answeredBy(ctx, clientID, "siren", id, want...)
}

// answeredBy is answered for another output than the siren.
func (s *suite) answeredBy(ctx context.Context, clientID, output, id string, want ...string) error {
	var got []string
	err := eventually(ctx, time.Minute, "", func() bool {
		got = s.answers(clientID, output, id)
		return len(got) >= len(want)
	})
	if text := strings.Join(got, ", "); err != nil || text != strings.Join(want, ", ") {
		return fmt.Errorf("order %q is answered with %q, want %q", id, text, want)
	}
	return nil
}

// changes is how often an output was switched on. A reading may arrive twice.
func (s *suite) changes(clientID, output string) int {
	seen := map[key]bool{}
	for _, r := range s.ledger.on(clientID + "/" + output) {
		if r.Value != nil && *r.Value == 1 {
			seen[key{boot: r.Boot, seq: r.Seq}] = true
		}
	}
	return len(seen)
}

// anyVersion is the configuration line with mqtt.version.
var anyVersion = regexp.MustCompile(`(?m)^  version: .*\n`)

// newOrdered prepares an agent with a siren that takes orders. more has further stanzas.
func newOrdered(s *server, clientID, account, address, more string) (*agent, error) {
	a, err := newAgent(s, clientID, clientID, address, password)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(a.config())
	if err != nil {
		return nil, err
	}
	config := strings.Replace(string(text), fmt.Sprintf("username: %q", s.kind.userName()),
		fmt.Sprintf("username: %q", account), 1)
	// With MQTT 5 the agent does not subscribe to retained orders, and so does not answer them:
	// cmd/holdfast tests that.
	config = anyVersion.ReplaceAllString(config, "")
	config = strings.Replace(config, "mqtt:\n", "mqtt:\n  version: 3.1.1\n", 1)
	config += "clock: {trust: always}\noutputs:\n  siren: {kind: simulated, class: siren, max_on: 3m, commands: true}\n" +
		more
	return a, os.WriteFile(a.config(), []byte(config), 0o600)
}

// startOrdered starts an agent with a siren that takes orders, and waits: in the first two
// seconds of a subscription orders are refused as unsure.
func (s *suite) startOrdered(ctx context.Context, clientID, more string, doubted time.Duration) (*agent, error) {
	a, err := newOrdered(s.server, clientID, s.server.kind.userName(), s.server.address(), more)
	if err != nil {
		return nil, err
	}
	if err = a.start(); err == nil {
		err = s.live(ctx, clientID)
	}
	if err != nil {
		a.kill()
		return nil, err
	}
	pause(ctx, doubted)
	return a, nil
}

// orders are sent through the broker: retained, late, twice, and signed.
func (s *suite) orders(ctx context.Context) {
	defer s.calm.Done()
	sender, err := broker.PublishAs(s.server.login("sender"))
	if err != nil {
		s.tell(caseOrders, "", err)
		return
	}
	defer sender.Close()
	remark, err := s.plainOrders(ctx, sender)
	s.tell(caseOrders, remark, err)
	s.tell(caseSigned, "", s.signedOrders(ctx, sender))
	s.tell(caseCodes, "", s.codes(ctx, sender))
	remark, err = s.flood(ctx, sender)
	s.tell(caseFlood, remark, err)
	if s.server.kind.guard != "" {
		s.tell(caseDenied, "", s.deniedOrders(ctx))
	}
}

// agentRestarts is the number of starts of the agent while an order is retained.
const agentRestarts = 10

// plainOrders: a retained order is refused at each start of the agent, the same order at
// QoS 1 is executed once, and one that the link has delayed is not executed.
func (s *suite) plainOrders(ctx context.Context, sender *broker.Publisher) (remark string, err error) {
	held := &stall{}
	link, err := cable.New(s.server.address(), func() cable.Tap { return held }, cable.Link{})
	if err != nil {
		return "", err
	}
	defer link.Close()
	a, err := newOrdered(s.server, "vault", s.server.kind.userName(), link.Addr(), "")
	if err != nil {
		return "", err
	}
	defer a.kill()
	const topic = "vault/siren/set"
	if err := sender.Publish(topic, "ON", true); err != nil {
		return "", err
	}
	var refused []string
	for range agentRestarts {
		refused = append(refused, "refused retained")
		if err := a.start(); err != nil {
			return "", err
		}
		if err := s.answered(ctx, "vault", "", refused...); err != nil {
			return "", err
		}
		if err := a.stop(); err != nil {
			return "", err
		}
	}
	if n := s.changes("vault", "siren"); n > 0 {
		return "", fmt.Errorf("a retained order switched the output on, %d times", n)
	}
	if err := sender.Publish(topic, "", true); err != nil { // the agent must not clear it
		return "", err
	}
	if err := a.start(); err != nil {
		return "", err
	}
	return fmt.Sprintf("a retained one refused at %d starts", agentRestarts), s.sameOrder(ctx, sender, held, topic)
}

// A stall blocks data to the agent while its mutex is locked.
type stall struct{ sync.Mutex }

func (*stall) ToServer([]byte) {}
func (l *stall) ToClient([]byte) {
	l.Lock()
	defer l.Unlock()
}

// sameOrder is the part of plainOrders with one running agent.
func (s *suite) sameOrder(ctx context.Context, sender *broker.Publisher, link *stall, topic string) error {
	if err := s.live(ctx, "vault"); err != nil {
		return err
	}
	pause(ctx, 3*time.Second) // in the first two seconds orders are refused as unsure
	for range 5 {
		if err := sender.Publish(topic, `{"state":"ON","for":"1m","id":"same"}`, false); err != nil {
			return err
		}
	}
	if err := eventually(ctx, time.Minute, "five orders are answered", func() bool {
		return len(s.answers("vault", "siren", "same")) == 5
	}); err != nil {
		return err
	}
	done, duplicate := 0, 0
	for _, result := range s.answers("vault", "siren", "same") {
		if word, _, _ := strings.Cut(result, " "); word == "duplicate" {
			duplicate++
		} else if word == "done" {
			done++
		}
	}
	if n := s.changes("vault", "siren"); n != 1 || done != 1 || duplicate != 4 {
		return fmt.Errorf("the same order five times: %d changes, %d done, %d duplicates", n, done, duplicate)
	}
	link.Lock()
	order := func(id string, valid time.Duration) string {
		return fmt.Sprintf(`{"state":"OFF","id":%q,"expires":%d}`, id, time.Now().Add(valid).UnixMilli())
	}
	err := errors.Join(sender.Publish(topic, order("late", 2*time.Second), false),
		sender.Publish(topic, order("intime", 10*time.Minute), false))
	pause(ctx, 3*time.Second) // less than the keepalive, so the connection stays
	link.Unlock()
	return errors.Join(err, s.answered(ctx, "vault", "late", "expired expires has passed"),
		s.answered(ctx, "vault", "intime", "done"))
}

// signedOrders: an order without a signature, or with a wrong one, is not executed, and
// neither is a recorded one that is sent again.
func (s *suite) signedOrders(ctx context.Context, sender *broker.Publisher) error {
	const key, topic = "not for the log", "safe/siren/set"
	file := filepath.Join(s.server.dir, "orders.key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		return err
	}
	// In the first five seconds a signed order may be from before the start.
	a, err := s.startOrdered(ctx, "safe", fmt.Sprintf("commands: {key_file: %s, max_age: 5s}\n", file), 6*time.Second)
	if err != nil {
		return err
	}
	defer a.kill()
	signed := func(id, state, key string) string {
		expires := time.Now().Add(4 * time.Second).UnixMilli()
		h := hmac.New(sha256.New, []byte(key))
		fmt.Fprintf(h, "%s\n%s\n%d\n%s\n", topic, id, expires, state)
		return fmt.Sprintf(`{"state":%q,"id":%q,"expires":%d,"mac":%q}`, state, id, expires,
			hex.EncodeToString(h.Sum(nil)))
	}
	send := func(order string) {
		err = errors.Join(err, sender.Publish(topic, order, false))
		pause(ctx, 300*time.Millisecond)
	}
	send(`{"state":"ON","id":"bare"}`)
	send(signed("wrong", "ON", "guessed"))
	right := signed("right", "ON", key)
	send(right)
	send(right)
	send(strings.Replace(right, `"ON"`, `"OFF"`, 1))
	pause(ctx, 4*time.Second)
	send(right)
	err = errors.Join(err, s.answered(ctx, "safe", "bare", "refused mac"), s.answered(ctx, "safe", "wrong", "refused mac"),
		s.answered(ctx, "safe", "right", "done", "duplicate done", "refused mac", "expired expires has passed"))
	if n := s.changes("safe", "siren"); n != 1 {
		err = errors.Join(err, fmt.Errorf("%d changes, want one", n))
	}
	if strings.Contains(a.log.String(), key) {
		err = errors.Join(err, errors.New("the log holds the key"))
	}
	return err
}

// codes: a code is tried six times, after which the right one is not accepted. The code
// appears only on the topic of the order.
func (s *suite) codes(ctx context.Context, sender *broker.Publisher) error {
	const right, topic = "471147", "panel/alarm/set"
	line, err := arming.NewLine("anna", right)
	if err != nil {
		return err
	}
	file := filepath.Join(s.server.dir, "codes")
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		return err
	}
	a, err := s.startOrdered(ctx, "panel", fmt.Sprintf(
		"rules:\n  intruder: {when: {gate: open}, armed: [away], then: {siren: 3m}}\n"+
			"arming: {modes: [away], exit: 0s, codes_file: %s, commands: true}\n", file), 3*time.Second)
	if err != nil {
		return err
	}
	defer a.kill()
	disarm := func(id, code string) {
		err = errors.Join(err, sender.Publish(topic, fmt.Sprintf(`{"action":"DISARM","code":%q,"id":%q}`, code, id), false))
		pause(ctx, 600*time.Millisecond)
	}
	disarm("right", right)
	err = errors.Join(err, s.answeredBy(ctx, "panel", "alarm", "right", "done"))
	for i := range 6 {
		want := "refused code"
		if i == 5 {
			want = "refused locked"
		}
		id := fmt.Sprint("try", i)
		disarm(id, fmt.Sprint(100_000+i))
		err = errors.Join(err, s.answeredBy(ctx, "panel", "alarm", id, want))
	}
	disarm("late", right)
	err = errors.Join(err, s.answeredBy(ctx, "panel", "alarm", "late", "refused locked"))
	if strings.Contains(a.log.String(), right) {
		err = errors.Join(err, errors.New("the log holds the code"))
	}
	for _, m := range s.rec.Arrivals() {
		if m.Topic != topic && strings.HasPrefix(m.Topic, "panel/") && strings.Contains(m.Payload, right) {
			err = errors.Join(err, fmt.Errorf("the code is on %s", m.Topic))
		}
	}
	return err
}

// deniedOrders: the broker denies the subscription. Health reports it, and readings are
// sent.
func (s *suite) deniedOrders(ctx context.Context) error {
	a, err := newOrdered(s.server, s.server.kind.guard, s.server.kind.guard, s.server.address(), "")
	if err != nil {
		return err
	}
	defer a.kill()
	if err := a.start(); err != nil {
		return err
	}
	health := s.server.kind.guard + "/agent/health"
	if err := eventually(ctx, patience, health+" says that orders are denied", func() bool {
		text := s.ledger.payload(health)
		return strings.Contains(text, `"commands":"denied"`) || strings.Contains(text, s.server.kind.guard+"/siren/set")
	}); err != nil {
		return fmt.Errorf("%w: it is %s", err, s.ledger.payload(health))
	}
	return s.live(ctx, s.server.kind.guard)
}

const (
	floodTime = 5 * time.Second
	floodRate = 10_000 // orders a second
	floodRoom = 16     // MiB of additional memory that the agent may use
)

// flood sends ten thousand orders a second at QoS 0, as far as the broker forwards them.
// Alarms are sent, the memory of the agent does not grow with the orders, and there are few
// events about them.
func (s *suite) flood(ctx context.Context, sender *broker.Publisher) (remark string, err error) {
	a, err := s.startOrdered(ctx, "flooded", "", 3*time.Second)
	if err != nil {
		return "", err
	}
	defer a.kill()
	alarms, err := broker.RecordAs(s.server.login("alarms"), "flooded/gate") // the other recorder receives the flood too
	if err != nil {
		return "", err
	}
	defer alarms.Close()
	before, err := a.memory()
	if err != nil {
		return "", err
	}
	began := time.Now()
	flooding, stop := context.WithTimeout(ctx, floodTime)
	defer stop()
	sent := sender.Flood(flooding, "flooded/siren/set", `{"state":"ON","for":"1s"}`, floodRate)
	ended := time.Now()
	if err := s.live(ctx, "flooded"); err != nil {
		return "", err
	}
	after, err := a.memory()
	if err != nil {
		return "", err
	}
	var slowest time.Duration
	for _, r := range newLedger(alarms).on("flooded/gate") {
		if at := time.UnixMilli(r.TS); at.After(began) && at.Before(ended) {
			slowest = max(slowest, r.at.Sub(at))
		}
	}
	events := len(s.answers("flooded", "siren", ""))
	switch {
	case slowest == 0:
		err = errors.New("no alarm of the flood's time arrived")
	case after-before > floodRoom:
		err = fmt.Errorf("the agent takes %d MiB, and took %d before", after, before)
	case events > 100:
		err = fmt.Errorf("%d events", events)
	}
	return fmt.Sprintf("%d in %v, alarms within %d ms, %d MiB more, %d events", sent, ended.Sub(began).Round(time.Second),
		slowest.Milliseconds(), after-before, events), err
}

// memory is the maximum memory of the agent so far, in MiB.
func (a *agent) memory() (mib int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.process.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &mib); err == nil {
			return mib >> 10, nil
		}
	}
	return 0, errors.New("no VmHWM in the status of the process")
}
