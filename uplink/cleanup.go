package uplink

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// cleanup returns the messages that remove what an earlier start of this agent has
// retained on the broker and this one does not publish: states and entities of
// streams that are configured no longer, and all of them under topics that are used
// no longer. previous is the retained agent/info from before our own birth. Only what
// it lists is removed, and nothing outside this agent's own topics, whatever it lists.
//
// The messages have to be published before the birth, as nothing would remove them
// after a power cut in between; and before the announcement, as Home Assistant
// refuses an entity while another announcement has one with its unique ID.
func cleanup(previous []byte, now Options) []mqtt.Message {
	var was birth
	if json.Unmarshal(previous, &was) != nil {
		return nil
	}
	maps.DeleteFunc(was.Streams, func(name string, _ birthStream) bool { return !sensors.IsName(name) })
	return append(was.forgetEntities(now), was.forgetStates(now)...)
}

// forgetEntities returns the messages that remove the entities which are announced no
// longer. In an announcement of the whole device, an entity with a platform alone is
// removed; the announcement that follows does not have it.
func (was birth) forgetEntities(now Options) []mqtt.Message {
	if !payload.IsPrefix(was.Discovery) {
		return nil
	}
	platforms := map[string]homeassistant.Platform{}
	for name, s := range was.Streams {
		platforms[name] = s.Platform
	}
	ha, device := now.HomeAssistant, now.device()
	stays := ha.Discovery && ha.Prefix == was.Discovery
	switch {
	case was.Split:
		return clearing(device.EntitiesGone(was.Discovery, platforms, stays))
	case !stays:
		return clearing([]string{homeassistant.DiscoveryTopic(was.Discovery, now.ClientID)})
	}
	if c, some := device.DiscoveryWithout(platforms); some {
		return []mqtt.Message{retainedConfig(c)}
	}
	return nil
}

// clearing returns the messages that remove what is retained on topics: empty ones.
func clearing(topics []string) (msgs []mqtt.Message) {
	for _, topic := range topics {
		msgs = append(msgs, mqtt.Message{Topic: topic, Retain: true})
	}
	return msgs
}

// forgetStates clears the retained states that nobody would change any more.
func (was birth) forgetStates(now Options) (msgs []mqtt.Message) {
	pattern := payload.DefaultPatterns.State
	if was.Topics != nil {
		pattern = was.Topics.State
	}
	if !payload.IsPattern(pattern) {
		return nil
	}
	t := now.topicNames()
	for _, name := range slices.Sorted(maps.Keys(was.Streams)) {
		topic := payload.Expand(pattern, now.ClientID, name)
		if !t.IsState(topic) && !strings.HasPrefix(topic, t.Agent("")) {
			msgs = append(msgs, mqtt.Message{Topic: topic, Retain: true})
		}
	}
	return msgs
}
