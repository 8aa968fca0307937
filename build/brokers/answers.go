package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/rawmqtt"
)

// The limits of a broker whose answers are tested.
const (
	maxSize  = 20_000
	maxQueue = 10
)

// answerTime is the maximum time of an answer; a known answer is not waited for.
const answerTime = 10 * time.Second

// A question is a column of the table of answers.
type question struct {
	name  string
	only5 bool // only for MQTT 5: the cell of 3.1.1 is a dash
	ask   func(*asker) (answer string, err error)
}

// questions are the columns, in order.
var questions = []question{
	{"says in CONNACK", true, (*asker).limits},
	{"denied", false, (*asker).denied},
	{"unheard", false, (*asker).unheard},
	{"too large", false, (*asker).tooLarge},
	{"invalid topic", false, (*asker).invalidTopic},
	{"quota", false, (*asker).quota},
	{"take-over", false, (*asker).takenOver},
	{"will delay", false, (*asker).willDelay},
	{"expiry", true, (*asker).expiry},
	{"shared subscription", false, (*asker).shared},
}

// An asker tests one broker with one version of MQTT. Its methods are for one goroutine.
type asker struct {
	ctx     context.Context
	server  *server
	version rawmqtt.Version
}

// askBroker starts a broker with limits, asks all questions in both versions, and adds the
// answers to the report.
func askBroker(ctx context.Context, p place, k *kind, rep *report) {
	s, err := newLimitedServer(p, k, filepath.Join(p.dir, k.name+"-answers"),
		limits{size: maxSize, queue: maxQueue, denied: true})
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		rep.tell(k.name, caseAnswers, "", err)
		return
	}
	defer s.kill()
	var both sync.WaitGroup
	for _, v := range []rawmqtt.Version{rawmqtt.V3, rawmqtt.V5} {
		both.Go(func() {
			a := &asker{ctx: ctx, server: s, version: v}
			cells, err := a.all()
			rep.answered(k.name, v, cells, err)
		})
	}
	both.Wait()
}

// all asks all questions. A broker without this version has one answer.
func (a *asker) all() ([]string, error) {
	refused, err := a.refusal()
	if refused != "" || err != nil {
		return []string{refused}, err
	}
	var cells []string
	for _, q := range questions {
		if q.only5 && a.version == rawmqtt.V3 {
			cells = append(cells, "–")
			continue
		}
		answer, err := q.ask(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.name, err)
		}
		cells = append(cells, answer)
	}
	return cells, a.ctx.Err()
}

// dial connects to the broker and logs in. If the broker refuses, the packet is its answer.
func (a *asker) dial(o rawmqtt.Options) (*rawmqtt.Client, rawmqtt.Packet, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: answerTime}, "tcp", a.server.address(),
		a.server.place.ca.client())
	if err != nil {
		return nil, rawmqtt.Packet{}, err
	}
	o.Version, o.Username, o.Password = a.version, a.server.kind.userName(), password
	o.ClientID = fmt.Sprintf("%s-%d", o.ClientID, a.version)
	return rawmqtt.Connect(conn, o, answerTime)
}

// client returns a client that is logged in.
func (a *asker) client(o rawmqtt.Options) (*rawmqtt.Client, error) {
	c, p, err := a.dial(o)
	if err == nil && p.Code != 0 {
		c.Cut()
		err = fmt.Errorf("the broker answers %v", p)
	}
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", o.ClientID, err)
	}
	return c, nil
}

// subscriber returns a client with subscriptions that the broker has granted.
func (a *asker) subscriber(o rawmqtt.Options, filters ...string) (*rawmqtt.Client, error) {
	c, err := a.client(o)
	if err != nil {
		return nil, err
	}
	for _, filter := range filters {
		if err := c.Subscribe(filter); err != nil {
			c.Cut()
			return nil, err
		}
		p, err := c.Await(rawmqtt.Suback, answerTime)
		if err != nil || p.Kind != rawmqtt.Suback || p.Code >= 0x80 {
			c.Cut()
			return nil, fmt.Errorf("subscribe to %s: %v, %w", filter, p, err)
		}
	}
	return c, nil
}

// topic is a topic that only this version uses.
func (a *asker) topic(name string) string { return fmt.Sprintf("answers/%d/%s", a.version, name) }

// refusal is how the broker refuses the version, or empty.
func (a *asker) refusal() (string, error) {
	c, p, err := a.dial(rawmqtt.Options{ClientID: "version"})
	switch {
	case errors.Is(err, rawmqtt.ErrClosed):
		return "not spoken: it closes the connection", nil
	case errors.Is(err, rawmqtt.ErrNothing):
		return "not spoken: it does not answer", nil
	case err != nil:
		return "", err
	}
	defer c.Cut()
	if p.Code == 0 {
		return "", nil
	}
	return fmt.Sprintf("not spoken: %v", p), nil
}

// limits are the limits in CONNACK.
func (a *asker) limits() (string, error) {
	c, p, err := a.dial(rawmqtt.Options{ClientID: "limits"})
	if err != nil {
		return "", err
	}
	defer c.Cut()
	var said []string
	add := func(format string, value any) { said = append(said, fmt.Sprintf(format, value)) }
	l := p.Limits
	if l.ReceiveMaximum != nil {
		add("Receive Maximum %d", *l.ReceiveMaximum)
	}
	if l.MaximumPacketSize != nil {
		add("Maximum Packet Size %d", *l.MaximumPacketSize)
	}
	if l.TopicAliasMaximum != nil {
		add("Topic Alias Maximum %d", *l.TopicAliasMaximum)
	}
	if l.ServerKeepAlive != nil {
		add("Server Keep Alive %d", *l.ServerKeepAlive)
	}
	if l.MaximumQoS != nil {
		add("Maximum QoS %d", *l.MaximumQoS)
	}
	if l.RetainAvailable != nil {
		add("Retain Available %d", *l.RetainAvailable)
	}
	if l.SharedAvailable != nil {
		add("Shared Subscription Available %d", *l.SharedAvailable)
	}
	if len(said) == 0 {
		return "nothing", nil
	}
	return strings.Join(said, ", "), nil
}

// answerTo is the broker's answer to a message that a client has sent at QoS 1, and whether
// it then closes the connection.
func answerTo(c *rawmqtt.Client, harmless string) string {
	answer, open := await(c)
	if !open {
		return answer
	}
	// Its answer shows whether the connection is open.
	c.Publish(rawmqtt.Message{Topic: harmless, Payload: []byte("x"), QoS: 1})
	switch next, open := await(c); {
	case !open:
		return answer + ", then " + next
	case answer == "nothing" && next == "nothing":
		return "nothing, and nothing to the next message"
	}
	return answer
}

// await is the answer to a message, and whether the connection is still open.
func await(c *rawmqtt.Client) (answer string, open bool) {
	p, err := c.Await(rawmqtt.Puback, answerTime)
	switch {
	case errors.Is(err, rawmqtt.ErrNothing):
		return "nothing", true
	case errors.Is(err, rawmqtt.ErrMalformed):
		return "a malformed packet", false
	case err != nil:
		return "closed", false
	}
	return p.String(), p.Kind != rawmqtt.Disconnect
}

// arrives publishes a marker until a subscriber has it, and returns the messages before it:
// all that the broker had for the subscriber. The marker is repeated, because a full queue
// may drop it.
func (a *asker) arrives(sub *rawmqtt.Client, marker string) (came []rawmqtt.Packet, err error) {
	pub, err := a.client(rawmqtt.Options{ClientID: "marker"})
	if err != nil {
		return nil, err
	}
	defer pub.Disconnect()
	const every = 500 * time.Millisecond
	for end := time.Now().Add(3 * answerTime); time.Now().Before(end) && a.ctx.Err() == nil; {
		if err := pub.Publish(rawmqtt.Message{Topic: marker, Payload: []byte("marker"), QoS: 1}); err != nil {
			return nil, err
		}
		for {
			p, err := sub.Next(every)
			if errors.Is(err, rawmqtt.ErrNothing) {
				break
			}
			if err != nil {
				return nil, err
			}
			if string(p.Payload) == "marker" {
				return came, nil
			}
			came = append(came, p)
		}
	}
	return nil, errors.New("a marker does not arrive")
}
