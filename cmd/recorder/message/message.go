// Package message decodes what the recorder receives: readings, events and what
// agents say of themselves, and the plain payloads of other publishers.
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

// Limits of what is stored. They bound a row, whatever a publisher sends.
const (
	MaxPayload = 64 << 10 // bytes of a payload that is decoded
	maxName    = 64       // characters of a device or a stream: the contract's own limit
	maxWord    = 255      // bytes of a state, a unit or a boot
	maxText    = 1024     // bytes of an error

	// maxValue is the largest amount of a value: the sum of 10^18 of them is still a number,
	// and PostgreSQL refuses one that is not.
	maxValue = 1e290
	// maxSeq is the highest number of a reading: JSON has no higher whole numbers, and sums of
	// what is missing stay within 64 bits.
	maxSeq = 1 << 53
)

// A Key tells the copies of one reading or event apart.
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
	State          string     // the word of a two-valued stream, or a plain word
	Unit           string     //
	Error          string     // why there is no value
	Clock          Confidence // how far TS can be trusted
	Historical     bool       // this copy was sent more than 10 s after the measurement
	Retained       bool       // it was published before the recorder subscribed
}

// NoTime is the TS of a payload without a time.
const NoTime = math.MinInt64

// Confidence is what vouches for a time, as the payload's "clock" has it; the empty
// one is a synchronised clock.
type Confidence string

// Unsynced is of a time that nothing vouches for.
const Unsynced Confidence = "unsynced"

// Better reports whether a time is to replace one of the other confidence.
func (c Confidence) Better(than Confidence) bool { return c.rank() > than.rank() }

// rank orders what vouches for a time. What a later version may say ranks lowest.
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
	Key           // of the event itself: for a gap, Boot is the start that tells of it
	TS     int64  // Unix milliseconds
	Name   string // "gap", "unclean_start", ...
	JSON   string // the whole object
	Gap    *Gap   // set if Name is "gap"
}

// A Gap is a declared loss: of the numbers From to To, Count never come.
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

// A Presence is the content of agent/status, the agent's will included. Anything but
// "online" counts as offline.
type Presence struct {
	Device   string
	Online   bool
	Retained bool
}

// A Health is an agent's heartbeat, as of TS. Lists that are not read stay in the
// retained message.
type Health struct {
	Device  string
	TS      int64 // Unix milliseconds
	Backlog int64
	Oldest  float64 // seconds that the oldest unsent reading waits
	Dropped int64
	Clock   string
	Written int64  // bytes
	Faults  string // JSON list of the streams that cannot be read
}

// Drops is what the broker says that it has dropped of full queues, for all its clients. It
// comes from package ingest, not from Decode.
type Drops struct {
	Since int64 // Unix milliseconds: what was published before has not been counted here
	Count int64 // messages, until this arrived
	Total int64 // since the broker started
}

// An Ignored is a message that is no history: a canary, or a topic of the agent that
// this version does not know.
type Ignored struct{}

// A BadError says why a message cannot be stored. Reason is one of the words in the
// column quarantine.reason: name, size, json, key, value, time.
type BadError struct{ Reason, Text string }

func (e *BadError) Error() string { return e.Reason + ": " + e.Text }

// bad makes a BadError. The text is for a person who looks into the quarantine; it
// repeats at most a word of the payload, which is kept there itself.
func bad(reason, format string, args ...any) error {
	return &BadError{reason, fmt.Sprintf(format, args...)}
}

// Decode decodes one message. It returns a Reading, Event, Birth, Presence, Health or
// Ignored; the error is a [*BadError]. size is that of the payload as it was sent:
// of a longer one than MaxPayload the caller may have kept the begin alone.
func Decode(topic string, payload []byte, size int, retained bool) (any, error) {
	// Broker and subscription leave two or three levels; the check is for anything else.
	levels := strings.Split(topic, "/")
	if problem := NameProblem(levels[0]); problem != "" {
		return nil, bad("name", "the device %s", problem)
	}
	if size > MaxPayload || size != len(payload) {
		return nil, bad("size", "the payload has %d bytes, more than %d", size, MaxPayload)
	}
	// What agents say of themselves has a level more than readings.
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

// NameProblem says why a level of a topic cannot be the name of a device or a
// stream. It accepts more than the agent does: other publishers use other letters.
func NameProblem(name string) string {
	// Length counts characters: a name in Greek may be as long as one in English.
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
