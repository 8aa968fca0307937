package sensors

import (
	"context"
	"io"
	"time"
)

// A Sensor is an open device.
type Sensor interface {
	// Next blocks until there is something to report or ctx is done. A sensor
	// with a pace measures when it is called; one without waits for an event,
	// and reports its level once at the start.
	//
	// After an error the sampler closes the sensor and opens it again. A
	// sensor that can tell which quantity failed returns a [Sample] with Err.
	Next(ctx context.Context) ([]Sample, error)
	io.Closer
}

// An Immediate sensor may say that its Next returns at once: it computes what it
// returns, or finds it in memory, and waits for no device, no file and no lock that
// another goroutine holds for long. Then the sampler of a sensor with a pace calls Next
// without a goroutine and without a limit of time: many such sensors cost little. Its
// Next cannot use [Notice].
type Immediate interface {
	Sensor
	IsImmediate() bool // the same answer each time
}

// A Sample is a value without a name in the house or a time, or a notice of the
// driver's about a quantity.
type Sample struct {
	Quantity string // which of the sensor's quantities
	Value    float64
	Err      error         // this quantity alone could not be read
	Ago      time.Duration // how long before Next returned this was so: 0, or the age of an edge

	Event *Event // instead of a value: what the driver noticed
}

// A Spec is one sensor as configured.
type Spec struct {
	Name    string
	Title   string // what people call it, in any script; empty: they call it by Name
	Kind    string
	Every   time.Duration // between two measurements, several of which may make a reading; 0: Next waits for events
	Streams []Stream      // one for each quantity, found by Quantity.Name
	Options any           // the kind's own; Open understands them
	Derived *Derivation   // not nil: nothing is opened, its only stream is computed from others
}

// AllStreams returns all streams that the sensor feeds: those of its quantities, and the
// alarms that are made of them.
func (s Spec) AllStreams() (all []Stream) {
	for _, st := range s.Streams {
		all = append(all, st)
		if st.Filter.Alarm != nil {
			all = append(all, st.Filter.Alarm.Stream)
		}
	}
	return all
}

// StreamCount is how many streams AllStreams returns.
func (s Spec) StreamCount() int {
	n := len(s.Streams)
	for i := range s.Streams {
		if s.Streams[i].Filter.Alarm != nil {
			n++
		}
	}
	return n
}

// Open opens the device behind a Spec. It may hang only as long as a driver of
// the kernel does; see [Run].
type Open func(context.Context, Spec) (Sensor, error)
