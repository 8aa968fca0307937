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

// Commands configure which orders a link accepts, and the function that carries them out.
// Package command decides which orders are valid.
type Commands struct {
	Outputs []string      // names of those that accept orders; empty: none does
	Alarm   bool          // the alarm panel accepts orders
	Asking  []string      // outputs for which an order may answer a question in a reading
	MaxAge  time.Duration // see [command.Options]
	Key     mqtt.Secret   // for the MAC of orders; without a file orders need no MAC

	// Do carries out an order, and calls answer exactly once with the result, from any
	// goroutine. It is called by a goroutine of the connection and must not block; answer
	// does not block either.
	Do func(o command.Order, answer func(done bool, why string))
	// Memory holds the orders that this start of the agent has carried out. It must outlive
	// the link, so that a reload of the configuration does not forget them; nil, a new
	// memory, is for tests.
	Memory *command.Memory
}

// AlarmName is the topic level on which the alarm panel accepts orders.
const AlarmName = "alarm"

// targets returns the outputs and the panel that accept orders.
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

// OrderTopics returns the topics on which orders are accepted.
func (o Options) OrderTopics() (all []string) {
	for _, t := range o.targets() {
		all = append(all, t.Topic)
	}
	return all
}

const (
	maxAnswers   = 64               // that wait to be reported as events; more are only counted
	maxReasons   = 8                // of refusal that are counted separately for each target
	summaryEvery = time.Minute      // between two events that report the counted answers
	answerGrace  = time.Second      // for orders that are being carried out when the link ends
	refusalBurst = 20               // refusals of each target that get an event of their own
	refusalEvery = 30 * time.Second // after the burst: one more refusal in this time
)

// orders receives orders from the connections of a link. A goroutine of the connection
// checks an order and starts it, so that an order does not wait for the session, which
// may be draining a backlog on a slow link. The goroutine of run reports the answers as
// events, so that the connection never waits for the lock of the queue.
type orders struct {
	link     *Link
	handlers map[string]*orderHandler // by topic; not changed

	answers   chan sensors.Event // capacity maxAnswers
	responses responses          // for the clients that sent the orders, see responseTo
	idle      chan struct{}      // holds a token after pending became 0

	mu            sync.Mutex      // guards all that follows
	pending       int             // orders that are being carried out
	denied        map[string]bool // topics whose subscription the broker refuses
	keyUnreadable bool            // the key cannot be read
}

// An orderHandler receives the orders to one target.
type orderHandler struct {
	*command.Checker
	orders *orders

	mu      sync.Mutex // guards all that follows
	tokens  float64    // refusals that may have an event of their own now
	filled  time.Time  // when tokens was computed last
	counted map[command.Decision]int
}

func newOrders(l *Link) *orders {
	o := &orders{link: l, handlers: map[string]*orderHandler{}, answers: make(chan sensors.Event, maxAnswers),
		responses: responses{waiting: make(chan response, maxAnswers)}, idle: make(chan struct{}, 1),
		denied: map[string]bool{}}
	c := l.opt.Commands
	if c.Memory == nil {
		c.Memory = command.NewMemory(l.opt.Boot)
	}
	opt := command.Options{MaxAge: c.MaxAge, Signed: c.Key.File != "", Now: l.opt.Clock.Now}
	for _, t := range l.opt.targets() {
		checker := command.NewChecker(t, slices.Contains(c.Asking, t.Name), opt, c.Memory)
		o.handlers[t.Topic] = &orderHandler{Checker: checker, orders: o, tokens: refusalBurst, filled: time.Now(),
			counted: map[command.Decision]int{}}
	}
	return o
}

// topics returns the topics to subscribe to, sorted.
func (o *orders) topics() []string { return slices.Sorted(maps.Keys(o.handlers)) }

// begin prepares a new connection, before anything is subscribed to: it reads the key
// again, and registers the handler of each topic.
func (o *orders) begin(ctx context.Context, conn Conn) {
	key := o.readKey(ctx)
	for topic, d := range o.handlers {
		d.Subscribing(key, conn.Facts().Resumed)
		conn.Handle(topic, d.onMessage)
	}
}

// keyTimeout limits reading the key, because its disk may hang.
const keyTimeout = 5 * time.Second

// readKey returns the key, or nil if none is configured. If the key cannot be read, all
// orders are refused, and both the log and agent/health say so.
func (o *orders) readKey(ctx context.Context) []byte {
	secret := o.link.opt.Commands.Key
	if len(o.handlers) == 0 || secret.File == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	key, err := secret.Read(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keyUnreadable = err != nil; o.keyUnreadable {
		o.link.log.Error("orders are refused: the key cannot be read", "err", err)
	}
	o.updateStatusLocked()
	return []byte(key)
}

// granted notes that the broker has accepted the subscription to a topic, if the topic is
// one for orders.
func (o *orders) granted(topic string) {
	if d := o.handlers[topic]; d != nil {
		d.Granted()
		o.setDenied(topic, false)
	}
}

// noteDenied notes that the broker has denied the subscription to a topic. It reports
// whether the topic is one for orders.
func (o *orders) noteDenied(topic string) bool {
	if o.handlers[topic] == nil {
		return false
	}
	o.setDenied(topic, true)
	return true
}

// setDenied records whether the subscription to a topic is denied.
func (o *orders) setDenied(topic string, denied bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.denied, topic)
	if denied {
		o.denied[topic] = true
	}
	o.updateStatusLocked()
}

// updateStatusLocked sets in the status of the link why orders are not accepted, if so. The caller holds mu.
func (o *orders) updateStatusLocked() {
	why := ""
	if len(o.denied) > 0 {
		why = "the broker denies to read " + strings.Join(slices.Sorted(maps.Keys(o.denied)), ", ")
	} else if o.keyUnreadable {
		why = "commands.key_file cannot be read"
	}
	o.link.board.refusesOrders(why)
}

// health returns what agent/health says about orders; empty: they are accepted, or none are
// configured.
func (o *orders) health() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.denied) > 0:
		return "denied"
	case o.keyUnreadable:
		return "no key"
	}
	return ""
}

// handleEarly handles a message that came before begin, and reports whether it is on a
// topic for orders.
func (o *orders) handleEarly(m mqtt.Message) (isOrder bool) {
	d := o.handlers[m.Topic]
	if d != nil {
		d.onMessage(m)
	}
	return d != nil
}

// onMessage handles a message on the topic of the target. It is called by a goroutine of
// the connection or, for a message that came before begin, by that of the session.
func (d *orderHandler) onMessage(m mqtt.Message) {
	if len(m.Payload) == 0 {
		return // it deletes a retained order, as the log advises, and is no order itself
	}
	order, decision := d.Checker.Check(command.Message{Payload: m.Payload, Retained: m.Retain, Repeated: m.Repeated})
	if decision.Result != "" {
		d.answer(order.ID, decision, m.Properties)
		return
	}
	d.orders.addPending(1)
	d.orders.link.opt.Commands.Do(order, func(done bool, why string) {
		decision, settled := command.Decision{Result: command.Done}, "done"
		if !done {
			decision = command.Decision{Result: command.Refused, Why: why}
			settled = "refused: " + why
		}
		d.Settle(order, settled)
		d.answer(order.ID, decision, m.Properties)
		d.orders.addPending(-1)
	})
}

// addPending counts what is being done.
func (o *orders) addPending(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pending += n; o.pending == 0 {
		select {
		case o.idle <- struct{}{}:
		default:
		}
	}
}

// answer reports a decision as an event, and publishes it on the response topic of the
// request, if it has one. Refusals beyond refusalBurst are only counted, and reported as
// one event a minute for each reason: a client that floods us with orders must not fill
// the queue, where its events would displace readings.
func (d *orderHandler) answer(id string, v command.Decision, request *mqtt.Properties) {
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

// countLocked counts a decision. Some reasons quote text of the sender, so their number is
// limited to maxReasons. The caller holds mu.
func (d *orderHandler) countLocked(v command.Decision) {
	if _, known := d.counted[v]; !known && len(d.counted) >= maxReasons {
		v.Why = "several reasons"
	}
	d.counted[v]++
}

// event returns the event that answers one order, or count orders with the same decision.
func (d *orderHandler) event(id string, v command.Decision, count int) sensors.Event {
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

// run reports answers as events until ctx is done, and then until the orders that are being
// carried out are answered, for answerGrace at most.
func (o *orders) run(ctx context.Context) {
	if len(o.handlers) == 0 {
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

// isIdle reports whether no order is being carried out.
func (o *orders) isIdle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending == 0
}

// flush reports the answers that are left.
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

// summarise reports one event for each decision that was counted.
func (o *orders) summarise() {
	for _, topic := range o.topics() {
		d := o.handlers[topic]
		d.mu.Lock()
		counted := d.counted
		d.counted = map[command.Decision]int{}
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
