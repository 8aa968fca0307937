package command

import (
	"cmp"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	// quiet is how long after a subscription orders are doubted: a bridge, or a broker that
	// keeps more than it should, sends then what it kept during an outage.
	quiet = 2 * time.Second

	burst     = 20 // orders of one target that are looked at without a pause
	perSecond = 2  // and so many a second after them
)

// Options are how orders are checked.
type Options struct {
	MaxAge time.Duration      // an order with a time of sending that is older is refused; at least 1 s
	Signed bool               // orders without the mac of the key are refused
	Now    func() clock.Stamp // must not block
}

// A Checker decides whether the orders to one target may be done.
type Checker struct {
	target Target
	opt    Options
	memory *Memory

	mu      sync.Mutex // guards all that follows
	key     []byte     // nil: it could not be read
	asks    bool       // the target asks questions, see Memory.Ask
	granted time.Time  // when the broker granted the subscription; zero: it has not
	resumed bool       // the broker may send what it has kept for us since the last connection
	tokens  float64    // orders that may be looked at now
	filled  time.Time  // when tokens was reckoned
}

// NewChecker returns the checker of a target. asks says that the target takes answers to
// readings, see [Memory.Ask].
func NewChecker(target Target, asks bool, opt Options, memory *Memory) *Checker {
	return &Checker{target: target, opt: opt, memory: memory, asks: asks, tokens: burst, filled: time.Now()}
}

// Target is what the checker is for.
func (j *Checker) Target() Target { return j.target }

// Subscribing takes note that a new connection is about to subscribe: until the broker
// grants it, orders are doubted. key is for the mac; nil: it could not be read. resumed says
// that the broker has gone on with the session of an earlier connection, with MQTT 5: it then
// sends what came for us meanwhile.
func (j *Checker) Subscribing(key []byte, resumed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.granted, j.key, j.resumed = time.Time{}, key, resumed
}

// Granted takes note that the broker has granted the subscription.
func (j *Checker) Granted() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.granted = time.Now()
}

// A Message is what MQTT says of an order besides its topic.
type Message struct {
	Payload  []byte
	Retained bool // the broker kept it, for whoever subscribes
	Repeated bool // the DUP flag: the broker has sent it before on this connection
}

// Check decides about one message. If the decision has no result, the order must be
// done, and [Check.Settle] be called with what became of it: no other call gets the same
// ID. Refused orders leave nothing behind, so a wrong one cannot use up the ID of a right
// one.
//
// What was done before the start of the agent is not known. Orders that could be among
// them are refused as unsure: in the first two seconds of a subscription all without an
// ID, and, while the agent runs for less than Options.MaxAge, those with one. A signed
// order may be valid for Options.MaxAge at most; so until the agent runs that long, any
// that expires earlier than the last one that an earlier start can have seen is refused.
// An ID that begins with the boot of this start is never doubted.
//
// It takes some microseconds, and less beyond the bound on the rate.
func (j *Checker) Check(m Message) (Order, Decision) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	switch {
	case !j.allowLocked(now): // first: of a flood nothing is read
		return Order{}, refuse("too many: more than 2 orders a second")
	case m.Retained:
		return Order{}, refuse("retained: the broker repeats it at each connect; publish it without the retain flag")
	case len(m.Payload) > MaxPayload:
		return Order{}, refuse("too large: an order has at most 1024 bytes")
	}
	o, err := Decode(j.target, m.Payload)
	if err != nil {
		return Order{ID: o.ID}, refuse("not understood: " + err.Error())
	}
	stamp := j.opt.Now()
	for _, check := range []func() Decision{
		func() Decision { return j.checkSignature(&o, stamp) },
		func() Decision { return j.checkAge(&o, stamp) },
		func() Decision { return j.checkCertainty(&o, m, now, stamp) },
		func() Decision { return j.claim(&o, now, stamp) },
	} {
		if v := check(); v.Result != "" {
			return o, v
		}
	}
	return o, Decision{}
}

// Settle takes note of what became of an order that was to be done, for the answer to
// its copies.
func (j *Checker) Settle(o Order, what string) {
	if o.ID != "" {
		j.memory.settle(j.target.Name, o.ID, what)
	}
}

func refuse(why string) Decision { return Decision{Refused, why} }

// allowLocked bounds the rate. The caller holds mu.
func (j *Checker) allowLocked(now time.Time) bool {
	j.tokens = min(burst, j.tokens+now.Sub(j.filled).Seconds()*perSecond)
	j.filled = now
	if j.tokens < 1 {
		return false
	}
	j.tokens--
	return true
}

// checkSignature refuses what is not signed, where there is a key.
func (j *Checker) checkSignature(o *Order, stamp clock.Stamp) Decision {
	switch {
	case !j.opt.Signed:
		return Decision{}
	case len(j.key) == 0:
		return refuse("key: commands.key_file cannot be read")
	case o.mac == "":
		return refuse("mac: it is missing, and commands.key_file is set")
	case o.ID == "" || o.expires == 0:
		return refuse("mac: a signed order needs id and expires")
	case !o.isSigned(j.target.Topic, j.key):
		return refuse("mac: it is wrong")
	case stamp.Clock == clock.Synced && o.expires-stamp.Unix > j.opt.MaxAge.Milliseconds():
		return refuse("mac: it would be valid for longer than commands.max_age")
	}
	return Decision{}
}

// checkAge refuses what is too old. A clock that is only estimated may be wrong by
// minutes or, after a long time without power, by days: it proves nothing.
func (j *Checker) checkAge(o *Order, stamp clock.Stamp) Decision {
	if o.expires == 0 && o.sent == 0 {
		return Decision{}
	}
	switch {
	case stamp.Clock != clock.Synced:
		return refuse("clock: it is " + stamp.Clock.String() + ", so nobody knows whether the order has expired")
	case o.expires != 0 && stamp.Unix >= o.expires:
		return Decision{Expired, "expires has passed"}
	case o.sent != 0 && stamp.Unix-o.sent > j.opt.MaxAge.Milliseconds():
		return Decision{Expired, "ts is older than commands.max_age"}
	}
	return Decision{}
}

// checkCertainty refuses what may be a copy of an order that was done already, or was
// meant for another time.
func (j *Checker) checkCertainty(o *Order, m Message, now time.Time, stamp clock.Stamp) Decision {
	doubted := j.granted.IsZero() || now.Sub(j.granted) < quiet
	young := j.opt.MaxAge - now.Sub(j.memory.began) // how long an order of before the start may still be valid
	switch {
	case o.ID == "" && m.Repeated:
		return refuse("unsure: the broker has sent it before, and it has no id")
	case o.ID == "" && doubted:
		return refuse("unsure: it has no id, and came within 2 s of the subscription")
	case doubted && j.resumed && !j.limitsItsAge(o):
		return refuse("unsure: the broker may have kept it while the link was down, and it has no expires")
	case o.ID == "" || young <= 0 || j.memory.namesThisStart(o.ID):
		return Decision{}
	case doubted:
		return refuse("unsure: the agent has started, and may have done it before")
	case j.opt.Signed && time.Duration(o.expires-stamp.Unix)*time.Millisecond <= young:
		return refuse("unsure: the agent has started, and may have done it before: repeat it with a later expires")
	}
	return Decision{}
}

// limitsItsAge reports whether an order that comes late is refused for that anyway: it says
// until when it is valid or when it was sent, or answers a question, which has its own time.
func (j *Checker) limitsItsAge(o *Order) bool {
	return o.expires != 0 || o.sent != 0 || j.asks && j.memory.namesThisStart(o.ID)
}

// claim refuses what was done already.
func (j *Checker) claim(o *Order, now time.Time, stamp clock.Stamp) Decision {
	if o.ID == "" {
		return Decision{}
	}
	var until time.Time
	if j.opt.Signed { // else a copy of a signed order could be done again after 64 others
		until = now.Add(time.Duration(o.expires-stamp.Unix) * time.Millisecond)
	}
	switch c, what := j.memory.claim(j.target.Name, o.ID, until, j.asks); c {
	case wasDone:
		return Decision{Duplicate, cmp.Or(what, "the first is being done")}
	case noRoom:
		return refuse("too many: 1024 orders have not expired")
	case unasked:
		return Decision{Expired, "the reading that it answers is too old, or there was none"}
	case elsewhere:
		return Decision{Expired, "the reading that it answers is of an earlier start of the agent"}
	}
	return Decision{}
}
