package uplink

import (
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// HomeAssistant says whether and where our device is announced.
type HomeAssistant struct {
	Discovery bool
	Prefix    string // of Home Assistant's own topics: "homeassistant"
}

// device is what Home Assistant is told of us.
func (o Options) device() homeassistant.Device {
	return homeassistant.Device{ClientID: o.ClientID, Prefix: o.HomeAssistant.Prefix, Version: o.Version,
		Hardware: o.Hardware,
		Topics:   o.topicNames(), Streams: o.Streams, Heartbeat: heartbeatEvery}
}

// Discovery is the retained message that announces our device and its entities.
func (o Options) Discovery() mqtt.Message { return retainedConfig(o.device().Discovery()) }

// entities are the retained messages that announce each entity by itself.
func (o Options) entities() (msgs []mqtt.Message) {
	for _, c := range o.device().Entities() {
		msgs = append(msgs, retainedConfig(c))
	}
	return msgs
}

func retainedConfig(c homeassistant.Config) mqtt.Message {
	return mqtt.Message{Topic: c.Topic, Payload: c.Payload, Retain: true}
}

// homeStatusTopic is where Home Assistant says "online" when it has started.
func (o Options) homeStatusTopic() string { return homeassistant.StatusTopic(o.HomeAssistant.Prefix) }

// homeStarted reports whether a message is Home Assistant's that it has started
// and wants to be told again.
func (o Options) homeStarted(m mqtt.Message) bool {
	return o.HomeAssistant.Discovery && m.Topic == o.homeStatusTopic() && string(m.Payload) == "online"
}
