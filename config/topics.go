package config

import (
	"fmt"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// topics checks both patterns, first by themselves, then for what they make of the
// streams that there are. Each has to contain {client_id} and {stream}: without one
// of them two agents or two streams would overwrite each other's messages.
func (r *reader) topics(t topicKeys, clientID string, streams []sensors.Stream) payload.Patterns {
	// With a wrong client ID every topic would be wrong, which was reported.
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

// patternProblem says why a pattern makes no topics that one may publish to, "" if
// it does.
func patternProblem(pattern string) string {
	bare := payload.Expand(pattern, "x", "x") // what is left is the person's own
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

// topicProblem says why nobody may publish to a topic; pattern is how the
// file has it.
func topicProblem(pattern, bare string) string {
	// MQTT 3.1.1, section 4.7, and what brokers do with an empty level.
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

// distinct makes sure that no topic has two meanings: that of two streams, of a
// reading and a state, or of the agent's own messages. It reports the first.
func (r *reader) distinct(t topicKeys, clientID string, streams []sensors.Stream) {
	// Every topic that the agent would publish to, and what it is: there may be ten
	// thousand, so each is made once.
	taken := map[string]string{}
	for _, st := range streams {
		for _, what := range []string{"reading", "state"} {
			pattern := t.Reading
			if what == "state" {
				pattern = t.State
			}
			topic := payload.Expand(pattern, clientID, st.Name)
			here := fmt.Sprintf("the %s of %s", what, st.Name)
			// agent/status is the last will: a reading there would bring a node offline.
			if own := clientID + "/agent"; topic == own || strings.HasPrefix(topic, own+"/") {
				r.failKey("topics."+what, "%s would be %s, one of the agent's own topics", here, topic)
				return
			}
			if other := taken[topic]; other != "" && other != here { // a stream that is made twice is told already
				r.failKey("topics."+what, "%s and %s would both be %s", other, here, topic)
				return
			}
			taken[topic] = here
		}
	}
}
