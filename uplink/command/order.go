// Package command understands orders that come by MQTT, and checks which may be done.
//
// A broker repeats retained messages at each connect, a bridge delivers what it kept
// during an outage, and QoS 1 may deliver a message twice. So an order is done only if
// it is certain that it is meant now and was not done before; in doubt it is refused.
//
// [Decode] understands a payload, a [Checker] decides whether the order may be done, and a
// [Memory] knows which orders were done. None of them knows outputs or connections.
//
// # Concurrency
//
// All functions, and the methods of [Checker] and [Memory], may be called from any
// goroutine. They never wait for a disk or a network.
package command

import "time"

// A Target is what takes orders: an output, or the alarm panel.
type Target struct {
	Topic string // "porch/siren/set"
	Name  string // of the output: "siren"; of the alarm panel: "alarm"
	Alarm bool   // it is the alarm panel: other words are understood, and codes
}

// An Order asks for a state. Each is idempotent: none says "toggle" or "more".
type Order struct {
	Target string        // its name
	State  string        // a word of the target: "ON", "OFF"; of the alarm "ARM_AWAY", "ARM_HOME", "DISARM"
	For    time.Duration // after that the output goes back to its safe level; 0: nothing was said
	ID     string        // of the sender's choice, 1 to 64 of A-Z a-z 0-9 . _ : -; empty: none
	Code   string        // of the alarm, as it was entered; must not be logged; empty: none
	Bypass []string      // of the alarm: streams to leave out although they are open

	expires int64  // when the order becomes invalid, Unix time in ms; 0: never
	sent    int64  // when it was sent, Unix time in ms; 0: nothing was said
	mac     string // in hexadecimal; empty: none
	extra   string // what else the mac covers: the text of For, or Bypass
}

// A Result is what became of an order, as its answer says it.
type Result string

// The results: a promise to whoever reads agent/event.
const (
	Done      Result = "done"
	Refused   Result = "refused"
	Expired   Result = "expired"
	Duplicate Result = "duplicate"
)

// A Decision is why an order is not done. If Result is empty, it may be done.
type Decision struct {
	Result Result
	Why    string // begins with a word for programs: "retained", "unsure: ..."
}

// words are the states that an order may ask for.
func (t Target) words() []string {
	if t.Alarm {
		return []string{"ARM_AWAY", "ARM_HOME", "DISARM"}
	}
	return []string{"ON", "OFF"}
}
