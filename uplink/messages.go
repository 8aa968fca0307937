package uplink

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// topics makes topic names, each once.
type topics struct {
	clientID string
	pattern  Topics
	event    string
	reading  map[string]string // by stream
	state    map[string]string
}

func newTopics(opt Options) topics {
	t := topics{clientID: opt.ClientID, pattern: opt.Topics, reading: map[string]string{}, state: map[string]string{}}
	t.event = t.agent("event")
	for _, s := range opt.Streams {
		t.reading[s.Name] = t.name(opt.Topics.Reading, s.Name)
		t.state[s.Name] = t.name(opt.Topics.State, s.Name)
	}
	return t
}

func (t topics) name(pattern, stream string) string {
	return strings.NewReplacer("{client_id}", t.clientID, "{stream}", stream).Replace(pattern)
}

// ofReading is where a stream's readings go. The backlog may hold readings of
// a stream that is no longer configured.
func (t topics) ofReading(stream string) string {
	if name, ok := t.reading[stream]; ok {
		return name
	}
	return t.name(t.pattern.Reading, stream)
}

// ofHistory is where the history of a stream goes; the empty one is the agent's.
func (t topics) ofHistory(stream string) string {
	if stream == "" {
		return t.event
	}
	return t.ofReading(stream)
}

func (t topics) agent(what string) string { return t.clientID + "/agent/" + what }

// AppendPayload appends an item as it is published: one flat JSON object.
func AppendPayload(b []byte, it queue.Item, historical bool) []byte {
	if it.Event != "" {
		return appendEvent(b, it)
	}
	return appendPayload(b, it.Reading, it.Boot, historical)
}

// appendEvent appends an event with its details. The boot of a gap is that of
// the readings that are missing; the start that tells of it is `start` then.
func appendEvent(b []byte, it queue.Item) []byte {
	b = append(b, `{"ts":`...)
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

func appendPayload(b []byte, r sensors.Reading, boot string, historical bool) []byte {
	b = append(b, `{"ts":`...)
	b = strconv.AppendInt(b, r.At.Unix, 10)
	b = appendString(b, `,"boot":`, boot)
	b = append(b, `,"seq":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = appendValue(b, r)
	if r.Unit != "" {
		b = appendString(b, `,"unit":`, r.Unit)
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

func appendValue(b []byte, r sensors.Reading) []byte {
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

// appendNumber writes a number as people do, except the very large and small.
func appendNumber(b []byte, v float64) []byte {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}

// appendString appends a key, as it stands, and a quoted string.
func appendString(b []byte, key, s string) []byte {
	b = append(b, key...)
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := json.Marshal(s) // also mends what is not UTF-8
			if err != nil {
				panic("uplink: payload: " + err.Error()) // strings always marshal
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
