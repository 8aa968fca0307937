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

// cleanup takes away what the previous start of this agent left with the broker
// and this one does not feed: states of streams and entities that are no longer
// configured, and all of them under topics that are no longer used. previous is
// the retained agent/info from before our own birth; nothing is touched that it
// does not list, and nothing outside this agent's own topics whatever it lists.
//
// Publish the messages before the birth, or a power cut in between leaves them
// undone for ever, and before the announcement: Home Assistant refuses an
// entity while another announcement has one with its unique ID.
func cleanup(previous []byte, now Options) []mqtt.Message {
	var was birth
	if json.Unmarshal(previous, &was) != nil {
		return nil
	}
	maps.DeleteFunc(was.Streams, func(name string, _ birthStream) bool { return !sensors.IsName(name) })
	return append(was.forgetEntities(now), was.forgetStates(now)...)
}

// forgetEntities removes what Home Assistant shows and is no longer announced.
// One entity goes with its platform alone; the announcement that follows leaves
// it out.
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

// clearing are the messages that take away what is retained on topics.
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
