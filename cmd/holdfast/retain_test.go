package main

import (
	"fmt"
	"testing"
	"time"
)

// TestABrokerWithoutRetainedMessages: then Mosquitto closes the connection for a retained
// will or message.
func TestABrokerWithoutRetainedMessages(t *testing.T) {
	t.Parallel()
	w := &wired{broker: startMosquitto(t, "retain_available false\n")}
	w.sub = subscribe(t, w.broker.addr, "#")
	w.agent = newAgent(t,
		fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\", retain: false}\nqueue: {path: %%DIR%%/queue.db}\n"+
			"home_assistant: {discovery: true}\nsensors:\n%s", w.broker.addr, heldSensors))
	w.agent.start()
	eventually(t, time.Minute, "online", func() bool { return w.sub.last("store/agent/status").raw == "online" })
	w.arrivedWhole(t, "load")
	w.arrivedWhole(t, "gate")
	for _, topic := range []string{"store/agent/info", "store/agent/health", "store/load/state",
		"homeassistant/device/store/config"} {
		if w.sub.last(topic).raw == "" {
			t.Errorf("nothing came on %s", topic)
		}
	}
	w.agent.kill()
	eventually(t, time.Minute, "the will", func() bool { return w.sub.last("store/agent/status").raw == "offline" })
}
