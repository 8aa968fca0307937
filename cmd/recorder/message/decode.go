package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decodeReading decodes the payload of a reading: the agent's object, another
// publisher's object with a value, a number, or a word.
func decodeReading(payload []byte) (Reading, error) {
	// A brace begins an object; anything else is a single value.
	text := bytes.TrimSpace(payload)
	switch {
	case len(text) == 0:
		return Reading{}, bad("value", "the payload is empty")
	case text[0] == '{':
		return decodeObject(text)
	}
	// The store replaces NoTime by the time of arrival.
	r := Reading{TS: NoTime}
	var err error
	r.Value, r.State, err = decodePlain(text)
	return r, err
}

// decodePlain decodes a bare number or word, as simple devices publish them. value is NaN for
// a word, state is empty for a number. true and false are words here: outside of an object
// they need not be JSON.
func decodePlain(text []byte) (value float64, state string, err error) {
	// Some devices publish a JSON string in place of the bare word.
	word := string(text)
	if word[0] == '"' {
		if err := json.Unmarshal(text, &word); err != nil {
			return 0, "", bad("json", "%v", err)
		}
		word = strings.TrimSpace(word)
	}
	// A number in quotes is a number: many devices publish all values as strings.
	if isNumber(word) {
		value, err = strconv.ParseFloat(word, 64)
		if err != nil || math.Abs(value) > maxValue {
			return 0, "", bad("value", "%q is not a number that can be stored", word)
		}
		return value, "", nil
	}
	// A word becomes a state, such as ON, open or unavailable.
	switch {
	case word == "" || len(word) > maxWord || !utf8.ValidString(word):
		return 0, "", bad("value", "the payload is neither a number nor a word of 1 to %d bytes", maxWord)
	case word[0] == '[' || strings.ContainsFunc(word, func(c rune) bool { return !unicode.IsPrint(c) }):
		return 0, "", bad("value", "the payload is neither a number nor a word")
	// Sensors print these if they have no value.
	case word == "null" || strings.EqualFold(word, "nan") || strings.Contains(strings.ToLower(word), "inf") &&
		len(strings.Trim(word, "+-")) == len("inf"):
		return 0, "", bad("value", "%q is not a value", word)
	}
	return math.NaN(), word, nil
}

// isNumber reports whether a word is a decimal number. strconv also accepts "infinity",
// "0x1p-2" and "1_000", which are words here.
func isNumber(word string) bool {
	// "e" and "-" have only characters of a number, but no digit.
	digits := strings.IndexFunc(word, func(c rune) bool { return c >= '0' && c <= '9' })
	return digits >= 0 && strings.Trim(word, "0123456789+-.eE") == "" && isFloat(word)
}

// isFloat reports whether a word has the syntax of a number.
func isFloat(word string) bool {
	// A number out of range is still a number: decodePlain rejects it and does not store a word.
	_, err := strconv.ParseFloat(word, 64)
	return err == nil || errors.Is(err, strconv.ErrRange)
}

// object has the members of a reading that the recorder uses; others are ignored.
type object struct {
	TS         json.Number     `json:"ts"`
	Boot       string          `json:"boot"`
	Seq        json.Number     `json:"seq"`
	Value      json.RawMessage `json:"value"`
	State      string          `json:"state"`
	Unit       string          `json:"unit"`
	Error      string          `json:"error"`
	Clock      string          `json:"clock"`
	Historical bool            `json:"historical"`
}

// decodeObject decodes a reading that is a JSON object. Those of the agent have a key and a
// time; those of other publishers need only a value.
func decodeObject(text []byte) (Reading, error) {
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return Reading{}, bad("json", "%v", err)
	}
	// Long texts are cut, not rejected: the start of a long error is still useful.
	r := Reading{State: clean(o.State, maxWord), Unit: clean(o.Unit, maxWord), Error: clean(o.Error, maxText),
		Clock: parseConfidence(o.Clock), Historical: o.Historical}
	var err error
	if r.Key, err = parseKey(o.Boot, o.Seq); err != nil {
		return Reading{}, err
	}
	if r.TS, err = parseTime(o.TS); err != nil {
		return Reading{}, err
	}
	// The agent always sends a time.
	if r.Boot != "" && r.TS == NoTime {
		return Reading{}, bad("time", `"ts" is missing`)
	}
	return r, r.setValue(o.Value)
}

// setValue sets the value or state from the member value of an object. The agent sends a
// number, or null with an error; other publishers also send words and booleans.
func (r *Reading) setValue(raw json.RawMessage) error {
	// NaN means that there is no value: JSON has no NaN of its own.
	r.Value = math.NaN()
	switch word := string(raw); {
	case word == "":
		return bad("value", `"value" is missing`)
	case word == "null" && r.Error == "" && r.Boot != "":
		return bad("value", `"value" is null and "error" does not say why`)
	case word == "null":
		return nil
	case word == "true":
		r.Value = 1
		return nil
	case word == "false":
		r.Value = 0
		return nil
	case word[0] == '{' || word[0] == '[':
		return bad("value", `"value" is not a single value`)
	}
	// "value": "wet" is a state; "value": "7" is a number.
	value, state, err := decodePlain(raw)
	if err != nil {
		return err
	}
	r.Value = value
	if state != "" {
		r.State = state
	}
	return nil
}

// parseKey returns the key of a reading or an event: both parts, or none. With only one part,
// second copies could not be recognised.
func parseKey(boot string, seq json.Number) (Key, error) {
	if boot == "" && seq == "" {
		return Key{}, nil
	}
	n, err := strconv.ParseInt(string(seq), 10, 64)
	switch {
	case boot == "" || seq == "":
		return Key{}, bad("key", `"boot" and "seq" belong together`)
	case err != nil || n < 1 || n > maxSeq:
		return Key{}, bad("key", `"seq" is %q: want a whole number from 1 to 2^53`, string(seq))
	case len(boot) > maxWord || strings.ContainsFunc(boot, func(c rune) bool { return c <= ' ' || !unicode.IsPrint(c) }):
		return Key{}, bad("key", `"boot" is not a word of 1 to %d bytes`, maxWord)
	}
	return Key{boot, n}, nil
}

// maxTime is the last millisecond of the year 9999, the last year in SQL and RFC 3339.
const maxTime = 253402300799999

// parseTime parses a time in Unix milliseconds; it returns NoTime for an empty one.
func parseTime(n json.Number) (int64, error) {
	if n == "" {
		return NoTime, nil
	}
	ts, err := strconv.ParseInt(string(n), 10, 64)
	if f, ferr := n.Float64(); err != nil && ferr == nil && math.Abs(f) <= maxTime {
		ts, err = int64(f), nil // other publishers write 1763640000123.0
	}
	if err != nil || ts < 0 || ts > maxTime {
		return 0, bad("time", `"ts" is %q: want milliseconds since 1970`, string(n))
	}
	return ts, nil
}

// parseConfidence parses the member clock. An unknown word, perhaps of a later version, counts
// as Unsynced.
func parseConfidence(word string) Confidence {
	switch word {
	case "", "estimated":
		return Confidence(word)
	}
	return Unsynced
}

// clean cuts a text to a number of bytes and makes it storable in every database: valid UTF-8
// without U+0000.
func clean(text string, limit int) string {
	// If the cut splits a character, ToValidUTF8 removes the rest of it.
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}

// decodeAgent decodes a message on a topic agent/... of a device.
func decodeAgent(device, what string, payload []byte, retained bool) (any, error) {
	switch what {
	case "status":
		return Presence{device, strings.TrimSpace(string(payload)) == "online", retained}, nil
	case "event":
		return decodeEvent(device, payload)
	case "info":
		var b struct{ Boot, Version, Hardware string }
		if err := unmarshalAgent(payload, &b); err != nil || len(payload) == 0 {
			return Ignored{}, err
		}
		return Birth{device, clean(b.Boot, maxWord), clean(b.Version, maxWord), clean(b.Hardware, maxWord), retained}, nil
	case "health":
		return decodeHealth(device, payload)
	}
	return Ignored{}, nil
}

// unmarshalAgent decodes one of an agent's own objects. An empty payload, which deletes a
// retained message, is not an error and leaves v unchanged.
func unmarshalAgent(payload []byte, v any) error {
	if len(payload) == 0 {
		return nil
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return bad("json", "%v", err)
	}
	return nil
}

// decodeHealth decodes a heartbeat. encoding/json matches the members without regard to case.
func decodeHealth(device string, payload []byte) (any, error) {
	var h struct {
		TS, Backlog, Dropped, Written int64
		Oldest                        float64
		Clock                         string
		Faults                        json.RawMessage
	}
	if err := unmarshalAgent(payload, &h); err != nil || len(payload) == 0 {
		return Ignored{}, err
	}
	return Health{device, h.TS, h.Backlog, h.Oldest, h.Dropped, clean(h.Clock, maxWord), h.Written,
		clean(string(h.Faults), MaxPayload)}, nil
}

// decodeEvent decodes an event. In a gap, "boot" is the boot of the missing readings, and
// "start" the boot that reports them.
func decodeEvent(device string, payload []byte) (any, error) {
	// Only gaps are decoded further; the store keeps the whole object of every event.
	var o struct {
		TS              json.Number
		Boot, Start     string
		Seq             json.Number
		Event           string
		Stream          string
		From, To, Count int64
		Why             string
	}
	if err := unmarshalAgent(payload, &o); err != nil || len(payload) == 0 {
		return Ignored{}, err
	}
	// The key of an event has the boot that reports it.
	e := Event{Device: device, Name: clean(o.Event, maxWord)}
	own := o.Boot
	if o.Start != "" {
		own = o.Start
	}
	var err error
	if e.Key, err = parseKey(own, o.Seq); err != nil {
		return nil, err
	}
	if e.TS, err = parseTime(o.TS); err != nil {
		return nil, err
	}
	if e.Boot == "" || e.TS == NoTime || e.Name == "" {
		return nil, bad("key", `an event needs "ts", "boot", "seq" and "event"`)
	}
	if e.Name == "gap" {
		e.Gap = &Gap{o.Stream, o.Boot, o.From, o.To, o.Count, clean(o.Why, maxWord)}
		if !e.Gap.isValid() {
			return nil, bad("value", "a gap needs a stream, a boot, from <= to, and a count of them")
		}
	}
	// Unchanged, so that members of later versions are stored, too.
	e.JSON = clean(string(payload), MaxPayload)
	return e, nil
}

// isValid reports whether such a gap is possible. An invalid one could hide real losses.
func (g *Gap) isValid() bool {
	_, err := parseKey(g.Boot, "1")
	return err == nil && NameProblem(g.Stream) == "" && g.From >= 1 && g.To >= g.From && g.To <= maxSeq &&
		g.Count >= 1 && g.Count <= g.To-g.From+1
}
