package command

import (
	"cmp"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	// doubtPeriod is how long after a subscription an order may be an old one: that is when
	// bridges, and brokers that keep too much, deliver what they kept during an outage.
	doubtPeriod = 2 * time.Second

	// The limit of orders to one target, as a token bucket.
	burst     = 20
	perSecond = 2
)

// Options are how orders are checked.
type Options struct {
	MaxAge time.Duration      // an order that was sent earlier is refused; at least 1 s
	Signed bool               // an order without a correct mac is refused
	Now    func() clock.Stamp // must not block
}

// A Checker decides whether the orders to one target may be done.
type Checker struct {
	target Target
	opt    Options
	memory *Memory

	mu      sync.Mutex // guards the fields below
	key     []byte     // for the mac; nil: it could not be read
	asks    bool       // the target asks questions, see Memory.Ask
	granted time.Time  // when the broker granted the subscription; zero: not yet
	resumed bool       // the broker may send messages that it kept since the last connection
	tokens  float64    // orders that may be checked now
	filled  time.Time  // when tokens was computed
}

// NewChecker returns the checker of a target. asks means that the target accepts answers
// to questions, see [Memory.Ask].
func NewChecker(target Target, asks bool, opt Options, memory *Memory) *Checker {
	return &Checker{target: target, opt: opt, memory: memory, asks: asks, tokens: burst, filled: time.Now()}
}

// Target returns the target of the checker.
func (c *Checker) Target() Target { return c.target }

// Subscribing must be called before a new connection subscribes: until the broker grants
// the subscription, an order may be an old one. key is for the mac; nil: it could not be
// read. resumed means that the broker of MQTT 5 has resumed an earlier session: then it
// sends messages that came meanwhile.
func (c *Checker) Subscribing(key []byte, resumed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.granted, c.key, c.resumed = time.Time{}, key, resumed
}

// Granted must be called when the broker has granted the subscription.
func (c *Checker) Granted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.granted = time.Now()
}

// A Message is an MQTT message with an order, without its topic.
type Message struct {
	Payload  []byte
	Retained bool // the broker sends it to each new subscriber
	Repeated bool // the DUP flag: the broker has sent it before on this connection
}

// Check decides about one message. If the decision has no result, the caller must do the
// order and then call [Checker.Settle]; further orders with the same ID are duplicates. A
// refused order does not use up its ID.
//
// The checker does not know which orders an earlier start of the agent has done. So it
// refuses as unsure the orders that may be among them: without an ID, those that come
// within two seconds of the subscription; with an ID, those that come within these seconds
// while the agent has run for less than Options.MaxAge. A signed order is valid for at most
// Options.MaxAge. Until the agent has run that long, a signed order is refused if it
// expires so early that an earlier start may have received it. An order whose ID begins
// with the boot of this start is never refused as unsure.
//
// Check takes some microseconds, and less for orders above the rate limit.
func (c *Checker) Check(m Message) (Order, Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case !c.allowLocked(now): // comes first, so that a flood costs little
		return Order{}, refuse("too many: more than 2 orders a second")
	case m.Retained:
		return Order{}, refuse("retained: the broker repeats it at each connect; publish it without the retain flag")
	case len(m.Payload) > MaxPayload:
		return Order{}, refuse("too large: an order has at most 1024 bytes")
	}
	o, err := Decode(c.target, m.Payload)
	if err != nil {
		return Order{ID: o.ID}, refuse("not understood: " + err.Error())
	}
	stamp := c.opt.Now()
	for _, check := range []func() Decision{
		func() Decision { return c.checkSignature(&o, stamp) },
		func() Decision { return c.checkAge(&o, stamp) },
		func() Decision { return c.checkCertainty(&o, m, now, stamp) },
		func() Decision { return c.claim(&o, now, stamp) },
	} {
		if v := check(); v.Result != "" {
			return o, v
		}
	}
	return o, Decision{}
}

// Settle records the outcome of an order that was accepted. It is in the answer to
// duplicates of the order.
func (c *Checker) Settle(o Order, what string) {
	if o.ID != "" {
		c.memory.settle(c.target.Name, o.ID, what)
	}
}

func refuse(why string) Decision { return Decision{Refused, why} }

// allowLocked limits the rate of orders. The caller holds mu.
func (c *Checker) allowLocked(now time.Time) bool {
	c.tokens = min(burst, c.tokens+now.Sub(c.filled).Seconds()*perSecond)
	c.filled = now
	if c.tokens < 1 {
		return false
	}
	c.tokens--
	return true
}

// checkSignature refuses an order without a correct mac if orders have to be signed.
func (c *Checker) checkSignature(o *Order, stamp clock.Stamp) Decision {
	switch {
	case !c.opt.Signed:
		return Decision{}
	case len(c.key) == 0:
		return refuse("key: commands.key_file cannot be read")
	case o.mac == "":
		return refuse("mac: it is missing, and commands.key_file is set")
	case o.ID == "" || o.expires == 0:
		return refuse("mac: a signed order needs id and expires")
	case !o.isSigned(c.target.Topic, c.key):
		return refuse("mac: it is wrong")
	case stamp.Clock == clock.Synced && o.expires-stamp.Unix > c.opt.MaxAge.Milliseconds():
		return refuse("mac: it would be valid for longer than commands.max_age")
	}
	return Decision{}
}

// checkAge refuses an order that is too old, or whose age cannot be known: a clock that is
// not synchronized may be wrong by minutes or, after a long time without power, by days.
func (c *Checker) checkAge(o *Order, stamp clock.Stamp) Decision {
	if o.expires == 0 && o.sent == 0 {
		return Decision{}
	}
	switch {
	case stamp.Clock != clock.Synced:
		return refuse("clock: it is " + stamp.Clock.String() + ", so nobody knows whether the order has expired")
	case o.expires != 0 && stamp.Unix >= o.expires:
		return Decision{Expired, "expires has passed"}
	case o.sent != 0 && stamp.Unix-o.sent > c.opt.MaxAge.Milliseconds():
		return Decision{Expired, "ts is older than commands.max_age"}
	}
	return Decision{}
}

// checkCertainty refuses an order that may have been done already, or that may be old.
func (c *Checker) checkCertainty(o *Order, m Message, now time.Time, stamp clock.Stamp) Decision {
	doubted := c.granted.IsZero() || now.Sub(c.granted) < doubtPeriod
	oldValid := c.opt.MaxAge - now.Sub(c.memory.began) // how long an order from before the start may still be valid
	switch {
	case o.ID == "" && m.Repeated:
		return refuse("unsure: the broker has sent it before, and it has no id")
	case o.ID == "" && doubted:
		return refuse("unsure: it has no id, and came within 2 s of the subscription")
	case doubted && c.resumed && !c.limitsItsAge(o):
		return refuse("unsure: the broker may have kept it while the link was down, and it has no expires")
	case o.ID == "" || oldValid <= 0 || c.memory.namesThisStart(o.ID):
		return Decision{}
	case doubted:
		return refuse("unsure: the agent has started, and may have done it before")
	case c.opt.Signed && time.Duration(o.expires-stamp.Unix)*time.Millisecond <= oldValid:
		return refuse("unsure: the agent has started, and may have done it before: repeat it with a later expires")
	}
	return Decision{}
}

// limitsItsAge reports whether other checks refuse the order if it comes late: it has a time
// of expiry or of sending, or it answers a question, which has a time limit.
func (c *Checker) limitsItsAge(o *Order) bool {
	return o.expires != 0 || o.sent != 0 || c.asks && c.memory.namesThisStart(o.ID)
}

// claim refuses an order whose ID was used already, and claims the ID otherwise.
func (c *Checker) claim(o *Order, now time.Time, stamp clock.Stamp) Decision {
	if o.ID == "" {
		return Decision{}
	}
	var until time.Time
	if c.opt.Signed { // otherwise a copy of a signed order could be done again after 64 others
		until = now.Add(time.Duration(o.expires-stamp.Unix) * time.Millisecond)
	}
	switch got, what := c.memory.claim(c.target.Name, o.ID, until, c.asks); got {
	case wasDone:
		return Decision{Duplicate, cmp.Or(what, "the first is being done")}
	case noRoom:
		return refuse("too many: 1024 orders have not expired")
	case notAsked:
		return Decision{Expired, "the reading that it answers is too old, or there was none"}
	case earlierStart:
		return Decision{Expired, "the reading that it answers is of an earlier start of the agent"}
	}
	return Decision{}
}
