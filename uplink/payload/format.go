package payload

import "github.com/holdfast-iot/holdfast/sensors"

// A Format is how the readings and the state of a stream are published. Events are
// always JSON.
type Format uint8

const (
	JSON         Format = iota // one flat object: see [Append]
	Plain                      // the bare value; a reading that would be historical is not sent
	PlainHistory               // the bare value, historical or not
)

// IsPlain reports whether a payload is the bare value.
func (f Format) IsPlain() bool { return f != JSON }

// Formats are the formats of a client's streams. The zero value is JSON for all.
type Formats struct {
	Default Format            // of streams that are not listed, also of those not configured any more
	Streams map[string]Format // by stream; must not change while it is in use
}

// Of returns the format of a stream. It allocates nothing.
func (f *Formats) Of(stream string) Format {
	if own, ok := f.Streams[stream]; ok {
		return own
	}
	return f.Default
}

// Unavailable is the plain payload of a failed read. It is not empty: an empty retained
// message deletes the state at the broker.
const Unavailable = "unavailable"

// AppendPlain appends the plain payload of a reading: the word of its state, or its number
// in the format of JSON, or [Unavailable]. It appends at least one byte.
func AppendPlain(b []byte, r *sensors.Reading) []byte {
	switch {
	case r.Err != "":
		return append(b, Unavailable...)
	case r.State != "":
		return append(b, r.State...)
	}
	return appendNumber(b, r.Value)
}
