package payload

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Append appends an item as it is published: one flat JSON object without spaces. A
// reading that is historical has "historical":true; an event never has. It allocates
// nothing, unless b has to grow or a text has characters to escape. Times are
// milliseconds since 1970.
func Append(b []byte, it queue.Item, historical bool) []byte {
	return appendMembers(append(b, '{'), &it, historical)
}

// AppendReading appends a reading of a start of the agent as it is published.
func AppendReading(b []byte, r sensors.Reading, boot string, historical bool) []byte {
	return appendReading(append(b, '{'), &r, boot, historical)
}

// AppendNamed appends an item with the names that its topic has when it is
// published, for a file: its client, and its stream if it is a reading. Empty
// names are left out.
func AppendNamed(b []byte, clientID string, it queue.Item, historical bool) []byte {
	b = append(b, '{')
	if clientID != "" {
		b = append(appendString(b, `"client_id":`, clientID), ',')
	}
	if it.Event == "" && it.Stream != "" {
		b = append(appendString(b, `"stream":`, it.Stream), ',')
	}
	return appendMembers(b, &it, historical)
}

// appendMembers appends the members of an object that was begun, and closes it. An item
// has more than 200 bytes, so it is not copied from here on.
func appendMembers(b []byte, it *queue.Item, historical bool) []byte {
	if it.Event != "" {
		return appendEvent(b, it)
	}
	return appendReading(b, &it.Reading, it.Boot, historical)
}

// appendEvent appends an event with its details. The details of a gap have the boot of the
// missing readings, so the boot in which the gap was reported has the key start.
func appendEvent(b []byte, it *queue.Item) []byte {
	b = append(b, `"ts":`...)
	b = strconv.AppendInt(b, it.At.Unix, 10)
	key := `,"boot":`
	if it.Event == "gap" {
		key = `,"start":`
	}
	b = appendString(b, key, it.Boot)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, it.Seq, 10)
	b = appendString(b, `,"event":`, it.Event)
	if details := strings.TrimSpace(it.Details); len(details) > len("{}") {
		b = append(b, ',')
		return append(b, details[1:]...)
	}
	return append(b, '}')
}

// appendReading appends the members of a reading, and closes the object. Members with their
// usual value (no unit, a synchronized clock, no error) are left out.
func appendReading(b []byte, r *sensors.Reading, boot string, historical bool) []byte {
	b = append(b, `"ts":`...)
	b = strconv.AppendInt(b, r.At.Unix, 10)
	b = appendString(b, `,"boot":`, boot)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = appendValue(b, r)
	if r.Unit != "" {
		b = appendString(b, `,"unit":`, r.Unit)
	}
	if r.By != "" {
		b = appendString(b, `,"by":`, r.By)
	}
	if r.For > 0 { // computed now, because At may have been corrected since the change
		b = append(b, `,"until":`...)
		b = strconv.AppendInt(b, r.At.Unix+r.For.Milliseconds(), 10)
	}
	if historical {
		b = append(b, `,"historical":true`...)
	}
	if r.At.Clock != clock.Synced {
		b = appendString(b, `,"clock":`, r.At.Clock.String())
	}
	if r.Err != "" {
		b = appendString(b, `,"error":`, r.Err)
	}
	return append(b, '}')
}

// appendValue appends the value, which is null if the reading is a failure, and the
// name of the state, if the stream has any.
func appendValue(b []byte, r *sensors.Reading) []byte {
	b = append(b, `,"value":`...)
	if r.Err != "" {
		return append(b, "null"...)
	}
	b = appendNumber(b, r.Value)
	if r.State != "" {
		b = appendString(b, `,"state":`, r.State)
	}
	return b
}

// appendNumber appends a number with as few digits as identify it, and without an exponent
// from 1e-6 to 1e21: the format of encoding/json and JavaScript.
func appendNumber(b []byte, v float64) []byte {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}

// appendString appends a key as it is, with its separators, and a string as JSON.
// Only a string with characters to escape, or beyond U+07FF, costs allocations: "°C"
// and "µg/m³" do not.
func appendString(b []byte, key, s string) []byte {
	b = append(b, key...)
	if !isPlain(s) {
		quoted, err := json.Marshal(s) // also replaces invalid UTF-8
		if err != nil {
			panic("payload: " + err.Error()) // strings always marshal
		}
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// isPlain reports whether a string is its own JSON: printable ASCII without '"' and
// '\\', and characters that are two valid bytes in UTF-8.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 0xc2 <= c && c <= 0xdf && i+1 < len(s) && s[i+1]&0xc0 == 0x80:
			i++
		case c < ' ' || c == '"' || c == '\\' || c >= 0x7f:
			return false
		}
	}
	return true
}
