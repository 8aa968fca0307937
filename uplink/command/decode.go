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

// MaxPayload is how many bytes an order may have.
const MaxPayload = 1 << 10

// Bounds of what an order may say.
const (
	maxID     = 64
	maxFor    = 24 * time.Hour // what is longer is a mistake of the unit
	maxBypass = 16
)

// Decode understands the payload of an order: a word such as ON, or a flat JSON object
// with the word as "state". Home Assistant's siren sends "duration" in seconds where we
// say "for", and its alarm panel "action" where we say "state"; both are understood.
//
// The error says what is wrong, for a person. It never repeats the value of a code or
// of a mac, which may be right.
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

// members reads an object. A key that stands twice is an error: programs differ in which
// of the two they take, so what was signed or shown could be another order.
func members(text []byte) (all []member, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil { // the opening brace
		return nil, errNoJSON
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		name, isText := key.(string)
		if err != nil || !isText {
			return nil, errNoJSON
		}
		if seen[name] {
			return nil, fmt.Errorf("%s stands twice", quoted(name))
		}
		seen[name] = true
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, errNoJSON
		}
		all = append(all, member{name, value})
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, errNoJSON
	}
	if len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return nil, errors.New("there is more behind the JSON object")
	}
	return all, nil
}

var errNoJSON = errors.New("the payload begins with { and is not valid JSON")

// set takes one member.
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

// setOfAlarm takes a member that only the alarm panel has.
func (o *Order) setOfAlarm(key string, value json.RawMessage) (err error) {
	switch key {
	case "code":
		if string(value) != "null" { // Home Assistant's template makes null of no code
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

// setOfOutput takes a member that only an output has.
func (o *Order) setOfOutput(key string, value json.RawMessage) (err error) {
	switch key {
	case "for", "duration":
		if o.For != 0 {
			return errors.New(`"for" and "duration" are the same: leave one out`)
		}
		o.For, o.extra, err = durationOf(key, value)
		return err
	case "tone", "volume_level":
		return nil // of Home Assistant's siren: an output has neither
	}
	return fmt.Errorf("an order has no %s: it has state, for, id, expires, ts and mac", quoted(key))
}

// setState takes the word that says what to do.
func (o *Order) setState(t Target, word string) error {
	if !slices.Contains(t.words(), word) {
		if t.Alarm { // the word may be a code that stands in the wrong place, and answers are published
			return fmt.Errorf("this is not an order: write %s", strings.Join(t.words(), ", "))
		}
		return fmt.Errorf("%s is not an order: write %s", quoted(word), strings.Join(t.words(), ", "))
	}
	o.State = word
	return nil
}

// check looks at what belongs together.
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

// textOf returns a string. The error does not repeat it.
func textOf(key string, value json.RawMessage) (text string, err error) {
	if value[0] != '"' || json.Unmarshal(value, &text) != nil || text == "" {
		return "", fmt.Errorf(`%q is not a text between "quotes"`, key)
	}
	return text, nil
}

// idOf returns an ID. It has no character that could end a line: the mac covers lines.
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

// IsID reports whether an order may have this ID.
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

// A number from minSeconds to maxSeconds is a time since 2001 in seconds, not one of the
// early 1970s in milliseconds.
const minSeconds, maxSeconds = 1_000_000_000, 100_000_000_000

// timeOf returns a time in Unix milliseconds. A time in seconds, which is what many
// programs have, would lie in 1970: the sender is told.
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
// seconds. Its text is what the mac covers.
func durationOf(key string, value json.RawMessage) (d time.Duration, text string, err error) {
	if value[0] == '"' {
		json.Unmarshal(value, &text) // it is valid JSON
		d, err = time.ParseDuration(text)
	} else {
		var seconds float64
		text = string(value)
		seconds, err = strconv.ParseFloat(text, 64)
		seconds = min(max(seconds, 0), 2*maxFor.Seconds()) // a Duration has no room for all numbers
		d = time.Duration(seconds * float64(time.Second))
	}
	if err != nil || d < time.Millisecond || d > maxFor {
		return 0, "", fmt.Errorf(`%q is neither a time such as "30s" nor a number of seconds, up to 24h`, key)
	}
	return d, text, nil
}

// quoted is what somebody wrote, short enough for a log. It is not used for values that
// may be secret.
func quoted(text string) string {
	const most = 32
	if len(text) > most {
		return strconv.QuoteToASCII(text[:most]) + "..."
	}
	return strconv.QuoteToASCII(text)
}
