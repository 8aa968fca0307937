package config

import (
	"fmt"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// topics checks both patterns, first by themselves, then with the existing streams. Each
// has to contain {client_id} and {stream}: otherwise two agents or two streams would
// overwrite each other's messages.
func (r *reader) topics(t topicKeys, clientID string, streams []sensors.Stream) payload.Patterns {
	// With a wrong client ID every topic would be wrong, and it was reported.
	good := topicLevelProblem(clientID) == ""
	for _, p := range [][2]string{{"topics.reading", t.Reading}, {"topics.state", t.State}} {
		path, pattern := p[0], p[1]
		if text := patternProblem(pattern); text != "" && !r.bad[path] {
			r.failValue(path, "%s", text)
		}
		good = good && !r.bad[path]
	}
	if good {
		r.distinct(t, clientID, streams)
	}
	return payload.Patterns(t)
}

// patternProblem returns why the topics of a pattern cannot be published to, "" if they
// can.
func patternProblem(pattern string) string {
	bare := payload.Expand(pattern, "x", "x") // the rest is what the user wrote
	switch {
	case !strings.Contains(pattern, "{client_id}"), !strings.Contains(pattern, "{stream}"):
		return fmt.Sprintf("%q has to contain {client_id} and {stream}", pattern)
	case strings.ContainsAny(bare, "{}"):
		return fmt.Sprintf("%q has other braces than {client_id} and {stream}", pattern)
	case strings.HasSuffix(pattern, "/set"):
		return fmt.Sprintf("%q ends in /set, where outputs take orders", pattern)
	}
	return topicProblem(pattern, bare)
}

// topicProblem returns why a topic cannot be published to; pattern is its text in the file.
func topicProblem(pattern, bare string) string {
	// MQTT 3.1.1, section 4.7, and how brokers treat an empty level.
	switch {
	case strings.ContainsAny(bare, "+#"):
		return fmt.Sprintf("%q has a wildcard: + and # are for those who subscribe", pattern)
	case strings.HasPrefix(bare, "$"):
		return fmt.Sprintf("%q begins with $: such topics are the broker's own", pattern)
	case strings.Contains("/"+bare+"/", "//"):
		return fmt.Sprintf("%q has an empty level: one slash too many", pattern)
	case firstUnreadable(bare) != nil, strings.ContainsAny(bare, "\t\n\r"):
		return fmt.Sprintf("%q has a character that cannot be printed", pattern)
	case len(pattern) > payload.MaxTopic:
		return "the topic is too long: at most 1024 characters are allowed"
	}
	return ""
}

// distinct checks that no topic has two meanings: two streams, a reading and a state, or
// one of the agent's own messages. It reports the first.
func (r *reader) distinct(t topicKeys, clientID string, streams []sensors.Stream) {
	// Every topic that the agent would publish to, and its meaning: there may be ten thousand,
	// so each is built once.
	taken := map[string]string{}
	for _, st := range streams {
		for _, what := range []string{"reading", "state"} {
			pattern := t.Reading
			if what == "state" {
				pattern = t.State
			}
			topic := payload.Expand(pattern, clientID, st.Name)
			here := fmt.Sprintf("the %s of %s", what, st.Name)
			// agent/status is the last will: a reading there would mark a node as offline.
			if own := clientID + "/agent"; topic == own || strings.HasPrefix(topic, own+"/") {
				r.failKey("topics."+what, "%s would be %s, one of the agent's own topics", here, topic)
				return
			}
			if other := taken[topic]; other != "" && other != here { // a stream with two sensors was reported already
				r.failKey("topics."+what, "%s and %s would both be %s", other, here, topic)
				return
			}
			taken[topic] = here
		}
	}
}
