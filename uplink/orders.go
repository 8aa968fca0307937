package uplink

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/command"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// Commands say which orders a link takes, and who does them. See package command for
// which of them may be done.
type Commands struct {
	Outputs []string      // that take orders; none: the link subscribes to none
	Alarm   bool          // the alarm panel takes orders
	Asking  []string      // outputs of which an order may be the answer to a reading
	MaxAge  time.Duration // see [command.Options]
	Key     mqtt.Secret   // for the mac of orders; without a file they need none

	// Do does an order, and calls answer once with what became of it, from any goroutine.
	// It is called by a goroutine of the connection and must not block, nor may the caller
	// of answer expect that it blocks.
	Do func(o command.Order, answer func(done bool, why string))
	// Memory knows the orders that this start of the agent has done. nil: a new one, which
	// only tests have, as it forgets them when the configuration is read again.
	Memory *command.Memory
}

// AlarmName is the level of a topic at which the alarm panel takes orders.
const AlarmName = "alarm"

// targets are what takes orders.
func (o Options) targets() (all []command.Target) {
	topics := o.topicNames()
	for _, name := range o.Commands.Outputs {
		all = append(all, command.Target{Topic: topics.Order(name), Name: name})
	}
	if o.Commands.Alarm {
		all = append(all, command.Target{Topic: topics.Order(AlarmName), Name: AlarmName, Alarm: true})
	}
	return all
}

// OrderTopics are the topics on which orders are taken.
func (o Options) OrderTopics() (all []string) {
	for _, t := range o.targets() {
		all = append(all, t.Topic)
	}
	return all
}

const (
	maxAnswers   = 64               // that wait to become events; more are counted
	maxReasons   = 8                // of refusals that are counted by themselves, of each target
	summaryEvery = time.Minute      // between two events with what was counted
	answerGrace  = time.Second      // for what is being done when the link ends
	refusalBurst = 20               // refusals of each target that are answered by themselves
	refusalEvery = 30 * time.Second // and one each so often after them
)

// orders take orders from a connection while the link lasts. A goroutine of the
// connection judges them and has them done, so that none waits for the session, which
// may be draining a backlog on a thin link. The answers become events in a goroutine
// of their own, so that the connection never waits for the lock of the queue.
type orders struct {
	link  *Link
	desks map[string]*desk // by topic; not changed

	answers   chan sensors.Event // holds maxAnswers
	responses responses          // for who asked, see responseTo
	idle      chan struct{}      // a token: nothing is being done any more

	mu      sync.Mutex
	pending int             // orders that are being done
	denied  map[string]bool // topics whose subscription the broker refuses
	keyless bool            // the key cannot be read
}

// A desk takes the orders to one target.
type desk struct {
	*command.Judge
	orders *orders

	mu      sync.Mutex // guards all that follows
	tokens  float64    // refusals that may be answered now
	filled  time.Time  // when tokens was reckoned
	counted map[command.Verdict]int
}

func newOrders(l *Link) *orders {
	o := &orders{link: l, desks: map[string]*desk{}, answers: make(chan sensors.Event, maxAnswers),
		responses: responses{waiting: make(chan response, maxAnswers)}, idle: make(chan struct{}, 1),
		denied: map[string]bool{}}
	c := l.opt.Commands
	if c.Memory == nil {
		c.Memory = command.NewMemory(l.opt.Boot)
	}
	opt := command.Options{MaxAge: c.MaxAge, Signed: c.Key.File != "", Now: l.opt.Clock.Now}
	for _, t := range l.opt.targets() {
		judge := command.NewJudge(t, slices.Contains(c.Asking, t.Name), opt, c.Memory)
		o.desks[t.Topic] = &desk{Judge: judge, orders: o, tokens: refusalBurst, filled: time.Now(),
			counted: map[command.Verdict]int{}}
	}
	return o
}

// topics are those to subscribe to, in an order that does not change.
func (o *orders) topics() []string { return slices.Sorted(maps.Keys(o.desks)) }

// begin prepares for a new connection: the key is read again, and each topic has its
// handler before it is subscribed to.
func (o *orders) begin(ctx context.Context, conn Conn) {
	key := o.readKey(ctx)
	for topic, d := range o.desks {
		d.Subscribing(key, conn.Facts().Resumed)
		conn.Handle(topic, d.hear)
	}
}

// keyTimeout is how long the key may take to be read: its disk may hang.
const keyTimeout = 5 * time.Second

// readKey returns the key, if one is configured. Without it all orders are refused: the
// log says why, and health that it is so.
func (o *orders) readKey(ctx context.Context) []byte {
	secret := o.link.opt.Commands.Key
	if len(o.desks) == 0 || secret.File == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	key, err := secret.Read(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keyless = err != nil; o.keyless {
		o.link.log.Error("orders are refused: the key cannot be read", "err", err)
	}
	o.noteLocked()
	return []byte(key)
}

// granted takes note that the broker lets us read a topic, if it is one for orders.
func (o *orders) granted(topic string) {
	if d := o.desks[topic]; d != nil {
		d.Granted()
		o.mark(topic, false)
	}
}

// isDenied takes note that the broker does not let us read a topic. It reports whether
// the topic is one for orders.
func (o *orders) isDenied(topic string) bool {
	if o.desks[topic] == nil {
		return false
	}
	o.mark(topic, true)
	return true
}

func (o *orders) mark(topic string, denied bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.denied, topic)
	if denied {
		o.denied[topic] = true
	}
	o.noteLocked()
}

// noteLocked tells the status why orders do not come. The caller holds mu.
func (o *orders) noteLocked() {
	why := ""
	if len(o.denied) > 0 {
		why = "the broker denies to read " + strings.Join(slices.Sorted(maps.Keys(o.denied)), ", ")
	} else if o.keyless {
		why = "commands.key_file cannot be read"
	}
	o.link.board.refusesOrders(why)
}

// health is what agent/health says of orders; empty: they may come, or none are taken.
func (o *orders) health() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.denied) > 0:
		return "denied"
	case o.keyless:
		return "no key"
	}
	return ""
}

// hearEarly takes a message that came before begin, if it is an order.
func (o *orders) hearEarly(m mqtt.Message) (isOrder bool) {
	d := o.desks[m.Topic]
	if d != nil {
		d.hear(m)
	}
	return d != nil
}

// hear takes a message on the topic of the desk, in a goroutine of the connection or, with
// what came early, of the session.
func (d *desk) hear(m mqtt.Message) {
	if len(m.Payload) == 0 {
		return // it deletes what is retained, as a person is told to, and orders nothing
	}
	order, verdict := d.Judge.Judge(command.Message{Payload: m.Payload, Retained: m.Retain, Repeated: m.Repeated})
	if verdict.Result != "" {
		d.answer(order.ID, verdict, m.Properties)
		return
	}
	d.orders.started(1)
	d.orders.link.opt.Commands.Do(order, func(done bool, why string) {
		verdict, settled := command.Verdict{Result: command.Done}, "done"
		if !done {
			verdict = command.Verdict{Result: command.Refused, Why: why}
			settled = "refused: " + why
		}
		d.Settle(order, settled)
		d.answer(order.ID, verdict, m.Properties)
		d.orders.started(-1)
	})
}

// started counts what is being done.
func (o *orders) started(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pending += n; o.pending == 0 {
		select {
		case o.idle <- struct{}{}:
		default:
		}
	}
}

// answer makes an event of a verdict. Refusals beyond a bound are counted, and go out as
// one event a minute for each reason: whoever may publish orders must not be able to
// fill the queue, in which they would take the place of readings. What is not counted is
// also published where the request wants it.
func (d *desk) answer(id string, v command.Verdict, request *mqtt.Properties) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.tokens = min(refusalBurst, d.tokens+float64(now.Sub(d.filled))/float64(refusalEvery))
	d.filled = now
	if v.Result != command.Done {
		if d.tokens < 1 {
			d.countLocked(v)
			return
		}
		d.tokens--
	}
	event := d.event(id, v, 1)
	if topic, p := d.orders.responseTo(request); topic != "" {
		d.orders.responses.put(mqtt.Message{Topic: topic, Payload: event.Details, Properties: p, Foreign: true})
	}
	select {
	case d.orders.answers <- event:
	default: // answers come faster than they become events
		d.countLocked(v)
	}
}

// countLocked counts a verdict. What somebody else wrote is a part of some reasons, so
// there may be any number of them. The caller holds mu.
func (d *desk) countLocked(v command.Verdict) {
	if _, known := d.counted[v]; !known && len(d.counted) >= maxReasons {
		v.Why = "several reasons"
	}
	d.counted[v]++
}

// event is the answer to an order, or to a number of them.
func (d *desk) event(id string, v command.Verdict, count int) sensors.Event {
	if count == 1 {
		count = 0 // it is left out
	}
	text, err := json.Marshal(struct {
		ID     string         `json:"id,omitempty"`
		Output string         `json:"output"`
		Result command.Result `json:"result"`
		Why    string         `json:"why,omitempty"`
		Count  int            `json:"count,omitempty"` // of several orders
	}{id, d.Target().Name, v.Result, v.Why, count})
	if err != nil {
		panic("uplink: answer: " + err.Error()) // strings and numbers always marshal
	}
	return sensors.Event{Name: "command", At: d.orders.link.opt.Clock.Now(), Details: text}
}

// run makes events of answers until ctx is done and what is being done then was answered.
func (o *orders) run(ctx context.Context) {
	if len(o.desks) == 0 {
		return
	}
	summary := time.NewTicker(summaryEvery)
	defer summary.Stop()
	stop := ctx.Done()
	var grace <-chan time.Time
	for {
		if stop == nil && o.isIdle() {
			break
		}
		select {
		case e := <-o.answers:
			o.report(e)
		case <-summary.C:
			o.summarise()
		case <-o.idle:
		case <-stop:
			stop, grace = nil, time.After(answerGrace)
		case <-grace:
			o.flush()
			return
		}
	}
	o.flush()
}

// isIdle reports whether nothing is being done.
func (o *orders) isIdle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending == 0
}

// flush makes events of what is left.
func (o *orders) flush() {
	for {
		select {
		case e := <-o.answers:
			o.report(e)
		default:
			o.summarise()
			return
		}
	}
}

// summarise makes one event of each kind of answers that were counted.
func (o *orders) summarise() {
	for _, topic := range o.topics() {
		d := o.desks[topic]
		d.mu.Lock()
		counted := d.counted
		d.counted = map[command.Verdict]int{}
		d.mu.Unlock()
		for v, n := range counted {
			o.report(d.event("", v, n))
		}
	}
}

// report passes an event to the queue. It does not wait for the disk.
func (o *orders) report(e sensors.Event) {
	if o.link.opt.Report != nil {
		o.link.opt.Report(e)
	}
}
