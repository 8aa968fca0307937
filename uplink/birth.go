package uplink

import "encoding/json"

// A birth is what agent/info says: what an agent is and what it feeds. The next
// one reads it back, to clear what is no longer there.
type birth struct {
	Version   string                 `json:"version"`
	Boot      string                 `json:"boot"`
	Hardware  string                 `json:"hardware"`
	Topics    *birthTopics           `json:"topics,omitempty"`    // absent: the default ones
	Discovery string                 `json:"discovery,omitempty"` // Home Assistant's prefix; empty: not announced
	Streams   map[string]birthStream `json:"streams"`
}

// birthTopics are patterns, as in the configuration.
type birthTopics struct {
	Reading string `json:"reading"`
	State   string `json:"state"`
}

type birthStream struct {
	Kind     string   `json:"kind"`
	Unit     string   `json:"unit"`
	Class    string   `json:"class"`
	Priority string   `json:"priority"`
	Platform platform `json:"platform,omitempty"` // of its entity in Home Assistant
}

func birthOf(o Options) birth {
	b := birth{Version: o.Version, Boot: o.Boot, Hardware: o.Hardware, Streams: map[string]birthStream{}}
	if o.Topics != DefaultTopics {
		b.Topics = (*birthTopics)(&o.Topics)
	}
	for _, s := range o.Streams {
		b.Streams[s.Name] = birthStream{Kind: s.Kind, Unit: s.Unit, Class: s.Class, Priority: s.Priority.String()}
	}
	if !o.HomeAssistant.Discovery {
		return b
	}
	b.Discovery = o.HomeAssistant.Prefix
	for name, c := range o.announcement().Components {
		if s, ok := b.Streams[name]; ok {
			s.Platform = c.Platform
			b.Streams[name] = s
		}
	}
	return b
}

func (b birth) json() []byte {
	payload, err := json.Marshal(b)
	if err != nil {
		panic("uplink: birth: " + err.Error()) // strings in maps always marshal
	}
	return payload
}
