// Package sensors makes a physical fact a reading.
//
// A sensor is a configured device. It delivers samples: values without a name
// or a time. The sampler, [Run], opens each sensor, paces it, and makes each
// sample a [Reading] of a stream: named, numbered and stamped. A stream is the
// unit of history; a sensor feeds one stream for each quantity it measures.
//
// Nothing here knows the sensors' hardware, disks or brokers. The [clock.Timekeeper]
// knows the machine's clocks, and asks who sets them.
package sensors

import (
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A Reading is one value of one stream at one moment, or the fact that there
// was none to be had.
type Reading struct {
	Stream   string
	Seq      uint64      // 1, 2, 3, ... in its stream, since the start of the agent
	At       clock.Stamp // when it was measured
	Value    float64     // in Unit; 0 or 1 in a two-valued stream
	State    string      // the word for Value in a two-valued stream: "open"
	Unit     string      // as Home Assistant writes it: "°C", "%", "hPa"
	Err      string      // why the sensor could not be read: Value and State have no meaning; empty: it was read
	Priority Priority

	// Of an output or of the arming state, which somebody or something changes.
	By  string        // what changed it: "rule:flood", "order:a1", "max_on"; empty: it was measured
	For time.Duration // how long it stays so if nothing else happens, in whole milliseconds; 0: for good
}

// Priority says which readings go first. It belongs to a stream, never to a
// single reading, so that the order within a stream is never in question.
type Priority uint8

const (
	Routine Priority = iota
	Alarm            // on disk at once, first to the broker
)

// String is the word that the configuration and the payload have.
func (p Priority) String() string {
	if p == Alarm {
		return "alarm"
	}
	return "routine"
}

// A Stream is a named history of readings of one quantity. Name identifies it in topics
// and files; Title and Area are for people, and nothing is found by them.
type Stream struct {
	Name     string
	Title    string        // what people call it, in any script; empty: they call it by Name
	Area     string        // the room or place that it is about; empty: not said
	Kind     string        // of the sensor that feeds it
	Every    time.Duration // between its readings; 0: they come with events
	Priority Priority
	Filter   Filter // which of its samples become readings
	Quantity
}

// A Filter decides which samples of a stream become readings, and with what value. The
// stages run in this order: correction, valid, average or median, alarm, report. What is
// published is rounded to Precision; alarm and report compare the value before that.
type Filter struct {
	Correction Correction
	Valid      Valid
	Average    int    // samples in one reading, their mean, taken evenly over Every; 0: 1
	Median     int    // the same with their median; at most one of the two is more than 1
	Alarm      *Limit // nil: none
	Report     Report
	Precision  *int // decimal places of what is published; nil: as many as the value has
}

// A Quantity is one thing that a sensor measures.
type Quantity struct {
	Name   string   // "humidity"
	Unit   string   // "%"; empty for a bare number or a state
	Class  string   // Home Assistant's device class: "humidity", "door"
	States []string // the words for the values 0, 1, ... of a stream of states
	Total  bool     // a meter: the value only grows, or begins again at 0
}

// Word is the state word for a value, empty where there is none.
func (q Quantity) Word(value float64) string {
	if i := int(value); i >= 0 && i < len(q.States) && float64(i) == value {
		return q.States[i]
	}
	return ""
}
