// Package command decodes orders that come by MQTT, and checks which of them may be done.
//
// A broker sends retained messages again at each connect, a bridge delivers messages that
// it kept during an outage, and QoS 1 may deliver a message twice. So an order is done
// only if it is certain that it is meant for now and was not done before. In doubt it is
// refused.
//
// [Decode] decodes a payload, a [Checker] decides whether the order may be done, and a
// [Memory] remembers which orders were done. The package does not use outputs or
// connections.
//
// # Concurrency
//
// All functions, and the methods of [Checker] and [Memory], may be called from any
// goroutine. They never wait for a disk or a network.
package command

import "time"

// A Target accepts orders: it is an output or the alarm panel.
type Target struct {
	Topic string // "porch/siren/set"
	Name  string // of the output: "siren"; of the alarm panel: "alarm"
	Alarm bool   // it is the alarm panel, which has other words, and codes
}

// An Order asks for a state. All orders are idempotent: there is no "toggle".
type Order struct {
	Target string        // its name
	State  string        // a word of the target: "ON", "OFF"; of the alarm "ARM_AWAY", "ARM_HOME", "DISARM"
	For    time.Duration // after this time the output returns to its safe level; 0: not given
	ID     string        // chosen by the sender, 1 to 64 of A-Z a-z 0-9 . _ : -; empty: none
	Code   string        // for the alarm panel, as entered; must not be logged; empty: none
	Bypass []string      // for the alarm panel: streams to ignore although they are open

	expires int64  // when the order becomes invalid, Unix time in ms; 0: never
	sent    int64  // when it was sent, Unix time in ms; 0: not given
	mac     string // in hexadecimal; empty: none
	extra   string // the part of the signed text with For or Bypass, see signedText
}

// A Result is the outcome of an order, as published in the answer.
type Result string

// The results. Programs that read agent/event rely on them.
const (
	Done      Result = "done"
	Refused   Result = "refused"
	Expired   Result = "expired"
	Duplicate Result = "duplicate"
)

// A Decision says whether an order may be done. If Result is empty it may.
type Decision struct {
	Result Result
	Why    string // the reason; its first word is for programs: "retained", "unsure: ..."
}

// words returns the states that an order may ask for.
func (t Target) words() []string {
	if t.Alarm {
		return []string{"ARM_AWAY", "ARM_HOME", "DISARM"}
	}
	return []string{"ON", "OFF"}
}
