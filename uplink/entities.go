package uplink

import (
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// HomeAssistant says whether and where our device is announced. See package
// homeassistant for the messages.
type HomeAssistant struct {
	Discovery bool   // false: nothing is announced, and the status of Home Assistant is not subscribed to
	Prefix    string // of Home Assistant's own topics: "homeassistant"

	Outputs map[string]homeassistant.Output // by stream; the others are of sensors
	Alarm   *homeassistant.Alarm            // nil: there is no alarm panel
}

// device returns the description of the device for Home Assistant.
func (o Options) device() homeassistant.Device {
	return homeassistant.Device{ClientID: o.ClientID, Prefix: o.HomeAssistant.Prefix, Version: o.Version,
		Hardware: o.Hardware, Serial: o.Serial, Name: o.Title, Area: o.Area,
		Topics: o.topicNames(), Formats: o.Formats, Streams: o.Streams, Heartbeat: o.healthEvery(),
		Outputs: o.HomeAssistant.Outputs, Alarm: o.HomeAssistant.Alarm}
}

// Discovery returns the retained message that announces our device with all its
// entities, whether or not HomeAssistant.Discovery is set.
func (o Options) Discovery() mqtt.Message { return retainedConfig(o.device().Discovery()) }

// entities returns the retained messages that announce each entity by itself.
func (o Options) entities() (msgs []mqtt.Message) {
	for _, c := range o.device().Entities() {
		msgs = append(msgs, retainedConfig(c))
	}
	return msgs
}

func retainedConfig(c homeassistant.Config) mqtt.Message {
	return mqtt.Message{Topic: c.Topic, Payload: c.Payload, Retain: true}
}

// homeStatusTopic returns the topic of Home Assistant's birth message.
func (o Options) homeStatusTopic() string { return homeassistant.StatusTopic(o.HomeAssistant.Prefix) }

// homeStarted reports whether a message says that Home Assistant has started: the
// announcement has to be sent again.
func (o Options) homeStarted(m mqtt.Message) bool {
	return o.HomeAssistant.Discovery && m.Topic == o.homeStatusTopic() && string(m.Payload) == "online"
}
