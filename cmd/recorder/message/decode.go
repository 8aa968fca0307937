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
	// What begins with a brace is meant as an object; anything else is one value.
	text := bytes.TrimSpace(payload)
	switch {
	case len(text) == 0:
		return Reading{}, bad("value", "the payload is empty")
	case text[0] == '{':
		return decodeObject(text)
	}
	// The store puts the time of arrival in its place.
	r := Reading{TS: NoTime}
	var err error
	r.Value, r.State, err = decodePlain(text)
	return r, err
}

// decodePlain decodes a bare number or word, as displays and simple devices publish
// them. value is NaN for a word, state empty for a number. JSON's true and false are
// words, too: outside of an object nobody says what they are.
func decodePlain(text []byte) (value float64, state string, err error) {
	// Some publish a JSON string in place of the bare word.
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
	// What sensors print when they have nothing; no database takes it as a number.
	case word == "null" || strings.EqualFold(word, "nan") || strings.Contains(strings.ToLower(word), "inf") &&
		len(strings.Trim(word, "+-")) == len("inf"):
		return 0, "", bad("value", "%q is not a value", word)
	}
	return math.NaN(), word, nil
}

// isNumber reports whether a word is meant as a decimal number. strconv also takes
// "infinity", "0x1p-2" and "1_000", which are words here.
func isNumber(word string) bool {
	// A word such as "e" or "-" has the letters of a number, and no digit.
	digits := strings.IndexFunc(word, func(c rune) bool { return c >= '0' && c <= '9' })
	return digits >= 0 && strings.Trim(word, "0123456789+-.eE") == "" && isFloat(word)
}

// isFloat reports whether a word has the syntax of a number.
func isFloat(word string) bool {
	// Out of range is still meant as a number: it is refused as one, not stored as a word.
	_, err := strconv.ParseFloat(word, 64)
	return err == nil || errors.Is(err, strconv.ErrRange)
}

// object has the members of a reading's object that are read; others are passed over.
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

// decodeObject decodes a reading as a JSON object. The agent's has a key; those of
// others may have a time, and need a value.
func decodeObject(text []byte) (Reading, error) {
	// It also refuses what stands behind the object.
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return Reading{}, bad("json", "%v", err)
	}
	// Texts are cut, not refused: a long error is still an error worth keeping.
	r := Reading{State: clean(o.State, maxWord), Unit: clean(o.Unit, maxWord), Error: clean(o.Error, maxText),
		Clock: confidence(o.Clock), Historical: o.Historical}
	var err error
	if r.Key, err = key(o.Boot, o.Seq); err != nil {
		return Reading{}, err
	}
	if r.TS, err = timeOf(o.TS); err != nil {
		return Reading{}, err
	}
	// The agent always knows a time; without one it is not the agent's.
	if r.Boot != "" && r.TS == NoTime {
		return Reading{}, bad("time", `"ts" is missing`)
	}
	return r, r.setValue(o.Value)
}

// setValue reads the member value of an object. The agent's is a number, or null with
// an error; others also publish words and truth values.
func (r *Reading) setValue(raw json.RawMessage) error {
	// NaN stands for NULL; a number that is not finite never comes out of JSON.
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

// key checks the key of a reading or an event: there are both parts or none. Half a key
// would be taken for a publisher without keys, and its second copies for readings.
func key(boot string, seq json.Number) (Key, error) {
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

// maxTime is the last millisecond of the year 9999: what SQL and RFC 3339 can print.
const maxTime = 253402300799999

// timeOf checks a time in Unix milliseconds; NoTime if there is none.
func timeOf(n json.Number) (int64, error) {
	if n == "" {
		return NoTime, nil
	}
	// Whole numbers are exact beyond 2^53 only as text, so they are not read as floats.
	ts, err := strconv.ParseInt(string(n), 10, 64)
	if f, ferr := n.Float64(); err != nil && ferr == nil && math.Abs(f) <= maxTime {
		ts, err = int64(f), nil // other publishers write 1763640000123.0
	}
	if err != nil || ts < 0 || ts > maxTime {
		return 0, bad("time", `"ts" is %q: want milliseconds since 1970`, string(n))
	}
	return ts, nil
}

// confidence reads the member clock: what is not known vouches for nothing.
func confidence(word string) Confidence {
	// A later version may say something new: that is no reason to trust the time.
	switch word {
	case "", "estimated":
		return Confidence(word)
	}
	return Unsynced
}

// clean bounds a text to a number of bytes and makes it one that every database takes:
// valid UTF-8 without the character 0.
func clean(text string, limit int) string {
	// The cut may be inside of a character; what is left of it goes with the next line.
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}

// decodeAgent decodes what an agent says of itself.
func decodeAgent(device, what string, payload []byte, retained bool) (any, error) {
	// The will is sent by the broker, so the status has no time.
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

// unmarshalAgent decodes one of an agent's own objects. An empty payload, which
// deletes a retained message, is no mistake and leaves v as it is.
func unmarshalAgent(payload []byte, v any) error {
	// An empty retained payload deletes the message: nothing is said.
	if len(payload) == 0 {
		return nil
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return bad("json", "%v", err)
	}
	return nil
}

// decodeHealth decodes a heartbeat. The members are matched without regard to case.
func decodeHealth(device string, payload []byte) (any, error) {
	// Members that are not named here are for other readers.
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

// decodeEvent decodes an event. In a gap, "boot" is that of the missing readings,
// and "start" the one that tells of it.
func decodeEvent(device string, payload []byte) (any, error) {
	// Details of other events are not looked at: the whole object is stored.
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
	// The key of an event is that of the start that tells of it.
	e := Event{Device: device, Name: clean(o.Event, maxWord)}
	own := o.Boot
	if o.Start != "" {
		own = o.Start
	}
	var err error
	if e.Key, err = key(own, o.Seq); err != nil {
		return nil, err
	}
	// An event without a time would stand nowhere in the history.
	if e.TS, err = timeOf(o.TS); err != nil {
		return nil, err
	}
	if e.Boot == "" || e.TS == NoTime || e.Name == "" {
		return nil, bad("key", `an event needs "ts", "boot", "seq" and "event"`)
	}
	if e.Name == "gap" {
		e.Gap = &Gap{o.Stream, o.Boot, o.From, o.To, o.Count, clean(o.Why, maxWord)}
		if !e.Gap.makesSense() {
			return nil, bad("value", "a gap needs a stream, a boot, from <= to, and a count of them")
		}
	}
	// As it came, so that members which are new are in the table.
	e.JSON = clean(string(payload), MaxPayload)
	return e, nil
}

// makesSense reports whether there can be such a gap: another one would hide holes, or be
// one of 2^63 numbers.
func (g *Gap) makesSense() bool {
	_, err := key(g.Boot, "1")
	return err == nil && NameProblem(g.Stream) == "" && g.From >= 1 && g.To >= g.From && g.To <= maxSeq &&
		g.Count >= 1 && g.Count <= g.To-g.From+1
}
