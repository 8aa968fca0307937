package uplink

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// cleanup takes away what the previous start of this agent left with the broker
// and this one does not feed: states of streams and entities that are no longer
// configured, and all of them under topics that are no longer used. previous is
// the retained agent/info from before our own birth; nothing is touched that it
// does not list, and nothing outside this agent's own topics whatever it lists.
//
// Publish the messages before the birth, or a power cut in between leaves them
// undone for ever, and before the announcement: Home Assistant refuses an
// entity while another announcement has one with its unique ID.
func cleanup(previous []byte, now Options) []Message {
	var was birth
	if json.Unmarshal(previous, &was) != nil {
		return nil
	}
	maps.DeleteFunc(was.Streams, func(name string, _ birthStream) bool { return !nameForm.MatchString(name) })
	return append(was.forgetEntities(now), was.forgetStates(now)...)
}

// nameForm is that of package config.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// forgetEntities removes what Home Assistant shows and is no longer announced.
// One entity goes with its platform alone; the announcement that follows leaves
// it out.
func (was birth) forgetEntities(now Options) []Message {
	if !isPrefix(was.Discovery) {
		return nil
	}
	if was.Split {
		return was.forgetSingles(now)
	}
	if ha := now.HomeAssistant; !ha.Discovery || ha.Prefix != was.Discovery {
		return []Message{{Topic: discoveryTopic(was.Discovery, now.ClientID), Retain: true}}
	}
	a, gone := now.announcement(), false
	for name, s := range was.Streams {
		if s.Platform != platformSensor && s.Platform != platformBinary || a.Components[name].Platform == s.Platform {
			continue
		}
		a.Components[name], gone = component{Platform: s.Platform}, true
	}
	if !gone {
		return nil
	}
	return []Message{now.announce(a)}
}

// forgetStates clears the retained states that nobody would change any more.
func (was birth) forgetStates(now Options) (msgs []Message) {
	pattern := DefaultTopics.State
	if was.Topics != nil {
		pattern = was.Topics.State
	}
	if !isPattern(pattern) {
		return nil
	}
	t := newTopics(now)
	fed := map[string]bool{}
	for _, topic := range t.state {
		fed[topic] = true
	}
	for _, name := range slices.Sorted(maps.Keys(was.Streams)) {
		topic := t.name(pattern, name)
		if !fed[topic] && !strings.HasPrefix(topic, t.agent("")) {
			msgs = append(msgs, Message{Topic: topic, Retain: true})
		}
	}
	return msgs
}

// isPattern reports whether a pattern makes topics that are this agent's own.
func isPattern(p string) bool {
	return isPrefix(p) && strings.Contains(p, "{client_id}") && strings.Contains(p, "{stream}")
}

// isPrefix reports whether a text can stand at the head of a topic to publish to.
func isPrefix(p string) bool {
	return p != "" && len(p) <= 1024 && !strings.ContainsAny(p, "+#\x00") && p[0] != '$'
}
