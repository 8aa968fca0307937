package uplink

import (
	"encoding/json"

	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// A birth is the payload of agent/info: a description of the agent and its streams. The next
// start of the agent reads it, to clear what is not configured any more.
type birth struct {
	Version   string                 `json:"version"`
	Boot      string                 `json:"boot"`
	Hardware  string                 `json:"hardware"`
	Topics    *birthTopics           `json:"topics,omitempty"`    // absent: the default ones
	Discovery string                 `json:"discovery,omitempty"` // Home Assistant's prefix; empty: not announced
	Split     bool                   `json:"split,omitempty"`     // announced to Home Assistant entity by entity
	Drain     birthDrain             `json:"drain"`
	Truncated bool                   `json:"truncated,omitempty"` // without the streams
	Streams   map[string]birthStream `json:"streams"`
}

const (
	maxBirth = mqtt.MaxInbound - 4<<10 // bytes of the payload, so that the next start can receive it
	maxEcho  = 32 << 10                // bytes; we unsubscribe before a larger birth is published
)

// birthTopics are patterns, as in the configuration.
type birthTopics struct {
	Reading string `json:"reading"`
	State   string `json:"state"`
}

// birthDrain tells subscribers how fast the backlog is sent.
type birthDrain struct {
	Rate      any `json:"rate"`                 // as in the configuration: auto, or readings per second; 0: no limit
	PerSecond int `json:"per_second,omitempty"` // of auto: at least, after the burst
	Burst     int `json:"burst,omitempty"`
}

func birthDrainOf(d Drain) birthDrain {
	if d.Rate == AutoRate {
		return birthDrain{Rate: "auto", PerSecond: autoRate, Burst: autoBurst}
	}
	return birthDrain{Rate: d.Rate}
}

type birthStream struct {
	Kind     string                 `json:"kind"`
	Unit     string                 `json:"unit"`
	Class    string                 `json:"class"`
	Priority string                 `json:"priority"`
	Payload  string                 `json:"payload,omitempty"`  // plain; absent: JSON
	Platform homeassistant.Platform `json:"platform,omitempty"` // of its entity in Home Assistant
}

func birthOf(o Options) birth {
	b := birth{Version: o.Version, Boot: o.Boot, Hardware: o.Hardware, Drain: birthDrainOf(o.Drain),
		Streams: map[string]birthStream{}}
	if o.Topics != payload.DefaultPatterns {
		b.Topics = (*birthTopics)(&o.Topics)
	}
	for _, s := range o.Streams {
		st := birthStream{Kind: s.Kind, Unit: s.Unit, Class: s.Class, Priority: s.Priority.String()}
		if o.Formats.Of(s.Name).IsPlain() {
			st.Payload = "plain"
		}
		b.Streams[s.Name] = st
	}
	if !o.HomeAssistant.Discovery {
		return b
	}
	b.Discovery = o.HomeAssistant.Prefix
	for name, p := range o.device().Platforms() {
		s := b.Streams[name]
		s.Platform = p
		b.Streams[name] = s
	}
	return b
}

// short returns the birth without the streams, for when the full one is too large.
func (b birth) short() birth {
	b.Streams, b.Truncated = map[string]birthStream{}, true
	return b
}

// birthMessage returns the retained message with the birth. It is the short form if
// short is set or the whole one has more than maxBirth bytes.
func (o Options) birthMessage(short, split bool) mqtt.Message {
	b := birthOf(o)
	b.Split = split
	payload := b.json()
	if short || len(payload) > maxBirth {
		payload = b.short().json()
	}
	return mqtt.Message{Topic: o.topicNames().Agent("info"), Payload: payload, Retain: true}
}

func (b birth) json() []byte {
	payload, err := json.Marshal(b)
	if err != nil {
		panic("uplink: birth: " + err.Error()) // strings in maps always marshal
	}
	return payload
}

// Largest returns the topic of the largest message that the agent publishes about
// itself (its birth, or its announcement to Home Assistant), and the bytes of its
// payload. `holdfast doctor` compares them with the limits of the broker.
func (o Options) Largest() (topic string, bytes int) {
	all := []mqtt.Message{o.birthMessage(false, false)}
	if o.HomeAssistant.Discovery {
		all = append(all, o.Discovery())
	}
	for _, m := range all {
		if len(m.Payload) >= bytes {
			topic, bytes = m.Topic, len(m.Payload)
		}
	}
	return topic, bytes
}
