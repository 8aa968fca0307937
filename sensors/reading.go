// Package sensors turns measurements into readings.
//
//   - A sensor is a configured device. It measures one quantity or several, such as
//     temperature and humidity.
//   - A sample is one measured value of a quantity, without a name or a time.
//   - A stream is the named history of one quantity.
//   - A [Reading] is one value of a stream, with a sequence number and a time stamp.
//
// A sampler opens one sensor, measures at the configured interval or waits for events, and
// turns the samples into readings: see [Run] and [Filter].
//
// The package knows no hardware, no disk and no broker. [clock.Timekeeper] knows the clocks
// of the machine and whether the wall clock can be trusted.
package sensors

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A Reading is one value of one stream at one moment, or the error why there is none.
type Reading struct {
	Stream   string
	Seq      uint64      // 1, 2, 3, ... in its stream, since the start of the agent
	At       clock.Stamp // when it was measured
	Value    float64     // in Unit; 0 or 1 in a two-valued stream
	State    string      // the word for Value in a two-valued stream: "open"
	Unit     string      // as Home Assistant writes it: "°C", "%", "hPa"
	Err      string      // why the sensor could not be read: Value and State have no meaning; empty: it was read
	Priority Priority

	// Only for outputs and the arming state, which rules, orders and timers change.
	By  string        // what changed it: "rule:flood", "order:a1", "max_on"; empty: it was measured
	For time.Duration // how long it stays so if nothing else happens, in whole milliseconds; 0: without an end
}

// Priority says which readings are sent first. It is the same for all readings of a
// stream, so that the order within a stream never changes.
type Priority uint8

const (
	Routine Priority = iota
	Alarm            // on disk at once, first to the broker
)

// String returns the word in the configuration and in the payload.
func (p Priority) String() string {
	if p == Alarm {
		return "alarm"
	}
	return "routine"
}

// A Stream is the named history of one quantity. Name identifies it in topics and files;
// Title and Area are only shown to people.
type Stream struct {
	Name     string
	Title    string        // the name for people, in any script; empty: they see Name
	Area     string        // the room or place; empty: unknown
	Kind     string        // of the sensor that feeds it
	Every    time.Duration // between its readings; 0: they come with events
	Priority Priority
	Filter   Filter // which of its samples become readings
	Quantity
}

// A Filter decides which samples of a stream become readings, and with what value. The
// stages run in this order: correction, valid, average or median, alarm, report. A
// published value is rounded to Precision; alarm and report compare the value before that.
type Filter struct {
	Correction Correction
	Valid      Valid
	Average    int    // a reading is the mean of so many samples, spread evenly over Every; 0 means 1
	Median     int    // the same for the median; at most one of Average and Median is more than 1
	Alarm      *Limit // nil: none
	Report     Report
	Precision  *int // decimal places of a published value; nil: not rounded
}

// A Quantity is one thing that a sensor measures.
type Quantity struct {
	Name   string   // "humidity"
	Unit   string   // "%"; empty for a bare number or a state
	Class  string   // Home Assistant's device class: "humidity", "door"
	States []string // the words for the values 0, 1, ... of a stream of states
	Total  bool     // a meter: the value only grows, or starts again at 0
}

// Word returns the state word for a value; empty: the quantity has none for it.
func (q Quantity) Word(value float64) string {
	if i := int(value); i >= 0 && i < len(q.States) && float64(i) == value {
		return q.States[i]
	}
	return ""
}
