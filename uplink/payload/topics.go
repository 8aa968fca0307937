// Package payload has the formats of what holdfast publishes: the names of topics,
// and readings and events as flat JSON objects. They are a promise to whoever
// subscribes, see docs/topics.md.
//
// # Concurrency
//
// All functions and methods may be called from any goroutine.
package payload

import "strings"

// Patterns are the topics of readings and states, with {client_id} and {stream} in
// place of the names. See [IsPattern] for what is valid.
type Patterns struct {
	Reading string // of the history: not retained
	State   string // of the latest reading of each stream: retained
}

// What a pattern has in place of the names.
const (
	clientIDKey = "{client_id}"
	streamKey   = "{stream}"
)

// DefaultPatterns have two levels for data and three for everything else.
var DefaultPatterns = Patterns{Reading: "{client_id}/{stream}", State: "{client_id}/{stream}/state"}

// Expand replaces {client_id} and {stream} in a pattern. It allocates the topic and nothing
// else: there may be thousands of streams.
func Expand(pattern, clientID, stream string) string {
	var room [128]byte // enough for most
	topic := room[:0]
	for pattern != "" {
		literal, _, _ := strings.Cut(pattern, "{")
		topic = append(topic, literal...)
		pattern = pattern[len(literal):]
		switch {
		case strings.HasPrefix(pattern, clientIDKey):
			topic = append(topic, clientID...)
			pattern = pattern[len(clientIDKey):]
		case strings.HasPrefix(pattern, streamKey):
			topic = append(topic, stream...)
			pattern = pattern[len(streamKey):]
		case pattern != "":
			topic = append(topic, '{')
			pattern = pattern[1:]
		}
	}
	return string(topic)
}

// MaxTopic is how many bytes a pattern or a prefix may have.
const MaxTopic = 1024

// IsPattern reports whether a pattern makes topics that belong to one client and
// stream, and that one may publish to. Package config says why it does not.
func IsPattern(p string) bool {
	return IsPrefix(p) && strings.Contains(p, clientIDKey) && strings.Contains(p, streamKey)
}

// IsPrefix reports whether a topic that one may publish to can begin with this.
func IsPrefix(p string) bool {
	return p != "" && len(p) <= MaxTopic && !strings.ContainsAny(p, "+#\x00") && p[0] != '$'
}

// Topics are the topics of one client. Those of its streams are made once: its
// methods may be called from any goroutine, and allocate nothing for a stream
// that is configured.
type Topics struct {
	clientID string
	patterns Patterns
	event    string
	streams  map[string]streamTopics
}

// streamTopics are those of one stream: its readings and its state.
type streamTopics struct{ reading, state string }

// NewTopics makes the topics of a client with these streams.
func NewTopics(clientID string, patterns Patterns, streams []string) Topics {
	t := Topics{clientID: clientID, patterns: patterns, streams: make(map[string]streamTopics, len(streams))}
	t.event = t.Agent("event")
	for _, s := range streams {
		t.streams[s] = streamTopics{Expand(patterns.Reading, clientID, s), Expand(patterns.State, clientID, s)}
	}
	return t
}

// ClientID is the client's own name.
func (t Topics) ClientID() string { return t.clientID }

// Reading is where the readings of a stream go. The backlog may hold some of a
// stream that is no longer configured.
func (t Topics) Reading(stream string) string {
	if topics, ok := t.streams[stream]; ok {
		return topics.reading
	}
	return Expand(t.patterns.Reading, t.clientID, stream)
}

// History is where the history of a stream goes: its readings, or the agent's
// events if the stream is empty.
func (t Topics) History(stream string) string {
	if stream == "" {
		return t.event
	}
	return t.Reading(stream)
}

// State is where the state of a stream is retained.
func (t Topics) State(stream string) string {
	if topics, ok := t.streams[stream]; ok {
		return topics.state
	}
	return Expand(t.patterns.State, t.clientID, stream)
}

// IsState reports whether a topic is that of the state of a configured stream.
func (t Topics) IsState(topic string) bool {
	for _, fed := range t.streams {
		if fed.state == topic {
			return true
		}
	}
	return false
}

// Order is where orders to an output, or to the alarm panel, are taken.
func (t Topics) Order(name string) string { return t.clientID + "/" + name + "/set" }

// Agent is the topic of something that the agent says of itself; of nothing, what
// these topics begin with.
func (t Topics) Agent(what string) string { return t.clientID + "/agent/" + what }
