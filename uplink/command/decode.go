package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// MaxPayload is the maximum size of an order in bytes.
const MaxPayload = 1 << 10

// Limits of the fields of an order.
const (
	maxID     = 64
	maxFor    = 24 * time.Hour // a longer time has probably a wrong unit
	maxBypass = 16
)

// Decode decodes the payload of an order: a word such as ON, or a flat JSON object with
// the word as "state". It also accepts what Home Assistant sends: "duration" in seconds
// for "for" from its siren, and "action" for "state" from its alarm panel.
//
// The error is for a person. It never contains the value of a code or a mac, which may be
// correct.
func Decode(t Target, payload []byte) (Order, error) {
	o := Order{Target: t.Name}
	text := bytes.TrimSpace(payload)
	switch {
	case len(text) == 0:
		return o, errors.New("the payload is empty")
	case text[0] != '{':
		return o, o.setState(t, string(text))
	}
	all, err := members(text)
	if err != nil {
		return o, err
	}
	for _, m := range all {
		if err := o.set(t, m.key, m.value); err != nil {
			return o, err
		}
	}
	return o, o.check(t)
}

// A member is a key of a JSON object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// members decodes an object. A duplicate key is an error: programs differ in which of the
// two values they use, so the order could differ from what was signed or displayed.
func members(text []byte) (all []member, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil { // the opening brace
		return nil, errInvalidJSON
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		name, isText := key.(string)
		if err != nil || !isText {
			return nil, errInvalidJSON
		}
		if seen[name] {
			return nil, fmt.Errorf("%s stands twice", quoted(name))
		}
		seen[name] = true
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, errInvalidJSON
		}
		all = append(all, member{name, value})
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, errInvalidJSON
	}
	if len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return nil, errors.New("there is more behind the JSON object")
	}
	return all, nil
}

var errInvalidJSON = errors.New("the payload begins with { and is not valid JSON")

// set sets the field for one member.
func (o *Order) set(t Target, key string, value json.RawMessage) (err error) {
	switch {
	case key == "state", key == "action" && t.Alarm:
		if o.State != "" {
			return errors.New(`"state" and "action" are the same: leave one out`)
		}
		var word string
		if word, err = textOf(key, value); err == nil {
			err = o.setState(t, word)
		}
	case key == "id":
		o.ID, err = idOf(value)
	case key == "expires":
		o.expires, err = timeOf(key, value)
	case key == "ts":
		o.sent, err = timeOf(key, value)
	case key == "mac":
		o.mac, err = textOf(key, value)
	case t.Alarm:
		return o.setOfAlarm(key, value)
	default:
		return o.setOfOutput(key, value)
	}
	return err
}

// setOfAlarm sets the field for a member that only orders to the alarm panel have.
func (o *Order) setOfAlarm(key string, value json.RawMessage) (err error) {
	switch key {
	case "code":
		if string(value) != "null" { // Home Assistant's template sends null without a code
			o.Code, err = textOf(key, value)
		}
		return err
	case "bypass":
		if json.Unmarshal(value, &o.Bypass) != nil || len(o.Bypass) > maxBypass ||
			slices.ContainsFunc(o.Bypass, func(name string) bool { return !sensors.IsName(name) }) {
			return fmt.Errorf(`"bypass" is not a list of at most %d streams, such as ["hall"]`, maxBypass)
		}
		o.extra = strings.Join(o.Bypass, ",")
		return nil
	}
	return fmt.Errorf("an order to the alarm has no %s: it has state, code, bypass, id, expires, ts and mac", quoted(key))
}

// setOfOutput sets the field for a member that only orders to outputs have.
func (o *Order) setOfOutput(key string, value json.RawMessage) (err error) {
	switch key {
	case "for", "duration":
		if o.For != 0 {
			return errors.New(`"for" and "duration" are the same: leave one out`)
		}
		o.For, o.extra, err = durationOf(key, value)
		return err
	case "tone", "volume_level":
		return nil // sent by Home Assistant's siren, and ignored
	}
	return fmt.Errorf("an order has no %s: it has state, for, id, expires, ts and mac", quoted(key))
}

// setState sets the state, which must be one of the target's words.
func (o *Order) setState(t Target, word string) error {
	if !slices.Contains(t.words(), word) {
		if t.Alarm { // the word may be a code in the wrong place, and the error is published
			return fmt.Errorf("this is not an order: write %s", strings.Join(t.words(), ", "))
		}
		return fmt.Errorf("%s is not an order: write %s", quoted(word), strings.Join(t.words(), ", "))
	}
	o.State = word
	return nil
}

// check checks the fields that depend on each other.
func (o *Order) check(t Target) error {
	switch {
	case o.State == "":
		return fmt.Errorf(`"state" is missing: %s`, strings.Join(t.words(), ", "))
	case o.For != 0 && o.State == "OFF":
		return errors.New("OFF lasts until the next order: leave the time out")
	case o.Bypass != nil && o.State == "DISARM":
		return errors.New("DISARM leaves nothing out: leave bypass out")
	}
	return nil
}

// textOf returns a string that is not empty. The error does not contain the value.
func textOf(key string, value json.RawMessage) (text string, err error) {
	if value[0] != '"' || json.Unmarshal(value, &text) != nil || text == "" {
		return "", fmt.Errorf(`%q is not a text between "quotes"`, key)
	}
	return text, nil
}

// idOf returns an ID, see IsID. It has no line feed, because signedText consists of lines.
func idOf(value json.RawMessage) (string, error) {
	id, err := textOf("id", value)
	if err == nil && !IsID(id) {
		err = fmt.Errorf(`"id" has other characters than A-Z a-z 0-9 . _ : - or more than %d of them`, maxID)
	}
	if err != nil {
		return "", err
	}
	return id, nil
}

// IsID reports whether an order may have this ID: 1 to maxID characters of
// A-Z a-z 0-9 . _ : -.
func IsID(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._:-", c) >= 0:
		default:
			return false
		}
	}
	return 0 < len(id) && len(id) <= maxID
}

// A number from minSeconds to maxSeconds is taken as a time in seconds since 2001, not as
// one in milliseconds in the early 1970s.
const minSeconds, maxSeconds = 1_000_000_000, 100_000_000_000

// timeOf returns a time in Unix milliseconds. Many programs use seconds: such a time is an
// error that says so.
func timeOf(key string, value json.RawMessage) (ms int64, err error) {
	ms, err = strconv.ParseInt(string(value), 10, 64)
	switch {
	case err != nil || ms <= 0:
		return 0, fmt.Errorf("%q is not a time in Unix milliseconds, such as 1763640000123", key)
	case minSeconds <= ms && ms < maxSeconds:
		return 0, fmt.Errorf("%q is a time in seconds: it has to be in milliseconds", key)
	}
	return ms, nil
}

// durationOf returns how long an order lasts: a text such as "30s", or a number of
// seconds. The text is a part of signedText.
func durationOf(key string, value json.RawMessage) (d time.Duration, text string, err error) {
	if value[0] == '"' {
		json.Unmarshal(value, &text) // it is valid JSON
		d, err = time.ParseDuration(text)
	} else {
		var seconds float64
		text = string(value)
		seconds, err = strconv.ParseFloat(text, 64)
		seconds = min(max(seconds, 0), 2*maxFor.Seconds()) // avoids an overflow of Duration
		d = time.Duration(seconds * float64(time.Second))
	}
	if err != nil || d < time.Millisecond || d > maxFor {
		return 0, "", fmt.Errorf(`%q is neither a time such as "30s" nor a number of seconds, up to 24h`, key)
	}
	return d, text, nil
}

// quoted quotes a text from an order for a log, shortened. It must not be used for values
// that may be secret.
func quoted(text string) string {
	const maxQuoted = 32
	if len(text) > maxQuoted {
		return strconv.QuoteToASCII(text[:maxQuoted]) + "..."
	}
	return strconv.QuoteToASCII(text)
}
