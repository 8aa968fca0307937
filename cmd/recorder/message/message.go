// Package message decodes what the recorder receives: readings, events and status messages
// of agents, and the plain payloads of other publishers.
//
// # Concurrency
//
// All functions may be called from any goroutine. What Decode returns shares no
// memory with the payload.
package message

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what is stored. They bound the size of a row for any payload.
const (
	MaxPayload = 64 << 10 // bytes of a payload that is decoded
	maxName    = 64       // characters of the name of a device or a stream, as in docs/topics.md
	maxWord    = 255      // bytes of a state, a unit or a boot
	maxText    = 1024     // bytes of an error

	// maxValue is the largest absolute value: a sum of 10^18 such values is still finite. An
	// infinite sum would be an error in PostgreSQL.
	maxValue = 1e290
	// maxSeq is the highest sequence number: JSON numbers are exact up to it, and sums of
	// missing numbers stay within 64 bits.
	maxSeq = 1 << 53
)

// A Key identifies a reading of a stream, or an event of a device. Two copies of it have the
// same key.
type Key struct {
	Boot string // of the agent; empty: there is no key
	Seq  int64  // 1 to maxSeq; 0: there is no key
}

// A Reading is one measurement of a stream. It has a Value, a State, both, or an Error.
type Reading struct {
	Device, Stream string
	Key                       // zero for the payloads of other publishers
	TS             int64      // Unix milliseconds; NoTime: the payload has none
	Value          float64    // NaN: there is no number
	State          string     // the word of a two-valued stream, such as open, or a plain word
	Unit           string     // empty: none
	Error          string     // why there is no value
	Clock          Confidence // whether TS can be trusted
	Historical     bool       // this copy was sent more than 10 s after the measurement
	Retained       bool       // it was published before the recorder subscribed
}

// NoTime is the TS of a payload without a time.
const NoTime = math.MinInt64

// Confidence is the quality of a time, from the member "clock" of a payload. The empty one
// means a synchronised clock.
type Confidence string

// Unsynced means that the clock was not synchronised: the time may be wrong by any amount.
const Unsynced Confidence = "unsynced"

// Better reports whether a time of this confidence is to replace one of the other.
func (c Confidence) Better(than Confidence) bool { return c.rank() > than.rank() }

// rank orders confidences. Unknown words, perhaps of a later version, rank lowest.
func (c Confidence) rank() int {
	switch c {
	case "":
		return 2
	case "estimated":
		return 1
	}
	return 0
}

// An Event is what happened to an agent, from its topic agent/event.
type Event struct {
	Device string
	Key           // of the event itself; for a gap, its Boot is the boot that reported it
	TS     int64  // Unix milliseconds
	Name   string // "gap", "unclean_start", ...
	JSON   string // the whole object
	Gap    *Gap   // set if Name is "gap"
}

// A Gap is a loss that an agent declares: Count of the numbers From to To will never arrive.
type Gap struct {
	Stream, Boot    string
	From, To, Count int64
	Why             string
}

// A Birth is an agent's retained message about itself.
type Birth struct {
	Device, Boot, Version, Hardware string
	Retained                        bool // this boot began before the recorder subscribed
}

// A Presence is the content of agent/status, from the agent or from its will. Anything but
// "online" counts as offline.
type Presence struct {
	Device   string
	Online   bool
	Retained bool
}

// A Health is an agent's heartbeat. It has only the members that the recorder uses.
type Health struct {
	Device  string
	TS      int64 // Unix milliseconds
	Backlog int64
	Oldest  float64 // age of the oldest unsent reading in seconds
	Dropped int64
	Clock   string
	Written int64  // bytes
	Faults  string // JSON list of the streams that cannot be read
}

// Drops is the broker's report of messages that it dropped from full queues, for all its
// clients. Package ingest makes it, not Decode.
type Drops struct {
	Since int64 // Unix milliseconds: when the report before this one arrived
	Count int64 // messages dropped since then
	Total int64 // messages dropped since the broker started
}

// An Ignored is a message that is not stored: a canary, or an agent topic that this version
// does not know.
type Ignored struct{}

// A BadError says why a message cannot be stored. Reason is one of the words in the
// column quarantine.reason: name, size, json, key, value, time.
type BadError struct{ Reason, Text string }

func (e *BadError) Error() string { return e.Reason + ": " + e.Text }

// bad returns a BadError. The text is for a person who reads the quarantine.
func bad(reason, format string, args ...any) error {
	return &BadError{reason, fmt.Sprintf(format, args...)}
}

// Decode decodes one message. It returns a Reading, Event, Birth, Presence, Health or
// Ignored; the error is always a [*BadError]. size is the size of the payload as it was sent:
// if it is more than MaxPayload, the caller may pass only the first bytes.
func Decode(topic string, payload []byte, size int, retained bool) (any, error) {
	levels := strings.Split(topic, "/")
	if problem := NameProblem(levels[0]); problem != "" {
		return nil, bad("name", "the device %s", problem)
	}
	if size > MaxPayload || size != len(payload) {
		return nil, bad("size", "the payload has %d bytes, more than %d", size, MaxPayload)
	}
	// Readings have two levels, status messages of agents three.
	switch {
	case len(levels) == 3 && levels[1] == "agent":
		return decodeAgent(levels[0], levels[2], payload, retained)
	case len(levels) != 2:
		return nil, bad("name", "the topic has %d levels", len(levels))
	}
	if problem := NameProblem(levels[1]); problem != "" {
		return nil, bad("name", "the stream %s", problem)
	}
	r, err := decodeReading(payload)
	if err != nil {
		return nil, err
	}
	r.Device, r.Stream, r.Retained = levels[0], levels[1], retained
	return r, nil
}

// NameProblem says why a level of a topic cannot be the name of a device or a stream; it is
// empty if it can. It accepts more than the agent does, because other publishers may use any
// printable characters.
func NameProblem(name string) string {
	// The limit is in characters, not bytes: the same for all languages.
	switch {
	case name == "":
		return "has no name"
	case name == "agent":
		return `cannot be named "agent"`
	case !utf8.ValidString(name):
		return "has a name that is not UTF-8"
	case utf8.RuneCountInString(name) > maxName:
		return fmt.Sprintf("has a name of more than %d characters", maxName)
	case strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "has a name with characters that cannot be printed"
	}
	return ""
}
