package sensors

import (
	"context"
	"io"
	"time"
)

// A Sensor is an open device.
type Sensor interface {
	// Next blocks until there is something to report or ctx is done. A sensor with an
	// interval (Spec.Every) measures when it is called. A sensor without one waits for an
	// event; its first call returns the current level at once.
	//
	// After an error the sampler closes the sensor and opens it again. A sensor that knows
	// which of its quantities failed returns a [Sample] with Err instead.
	//
	// Next and Close are never called at the same time.
	Next(ctx context.Context) ([]Sample, error)
	io.Closer
}

// An Immediate sensor can say that its Next returns at once: it computes the samples or
// has them in memory, and waits for no device, no file and no lock that another goroutine
// holds for long. If the sensor has an interval, the sampler then calls Next without a
// goroutine and without a time limit, so that many such sensors cost little. Such a Next
// cannot use [Notice].
type Immediate interface {
	Sensor
	IsImmediate() bool // the same answer each time
}

// A Sample is one measured value of a quantity, a failure to measure it, or an event that
// the driver reports about it. The sampler adds the stream's name and the time.
type Sample struct {
	Quantity string        // which of the sensor's quantities
	Value    float64       // in the quantity's unit
	Err      error         // why this quantity could not be read; nil: it was read
	Ago      time.Duration // how old the value was when Next returned: 0, or the age of an edge

	Event *Event // set if the sample is an event; Value and Err are then not used
}

// MaxEvery bounds Spec.Every and Report.AtLeast: three of them, in milliseconds, fit into the int
// of a 32-bit board.
const MaxEvery = 7 * 24 * time.Hour

// A Spec is one sensor as configured.
type Spec struct {
	Name    string
	Title   string        // the name for people, in any script; empty: they see Name
	Kind    string        // the driver: "bme280"
	Every   time.Duration // between two measurements, several of which may make a reading; 0: Next waits for events
	Streams []Stream      // one for each configured quantity; Quantity.Name is unique
	Options any           // of the kind; only Open knows the type
	Derived *Derivation   // not nil: there is no device, the only stream is computed from others
}

// AllStreams returns all streams that the sensor feeds: those of its quantities, and those
// of their alarms.
func (s Spec) AllStreams() (all []Stream) {
	for _, st := range s.Streams {
		all = append(all, st)
		if st.Filter.Alarm != nil {
			all = append(all, st.Filter.Alarm.Stream)
		}
	}
	return all
}

// StreamCount returns how many streams AllStreams returns, without an allocation.
func (s Spec) StreamCount() int {
	n := len(s.Streams)
	for i := range s.Streams {
		if s.Streams[i].Filter.Alarm != nil {
			n++
		}
	}
	return n
}

// Open opens the device of a Spec. It should return soon after ctx is done; only a driver
// in the kernel may hang longer: see [Run].
type Open func(context.Context, Spec) (Sensor, error)
