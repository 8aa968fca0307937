package uplink

import "github.com/holdfast-iot/holdfast/uplink/mqtt"

// Largest is the largest of the messages in which the agent tells of itself: its
// birth, or what it announces to Home Assistant.
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
