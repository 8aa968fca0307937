package main

import (
	"testing"
	"time"
)

// TestAKilledAgentIsOffline: the broker publishes the will, to present subscribers and
// retained for later ones.
func TestAKilledAgentIsOffline(t *testing.T) {
	t.Parallel()
	broker := startMosquitto(t, "")
	now := subscribe(t, broker.addr, "porch/agent/status")
	a := newAgent(t, `
client_id: porch
mqtt: {server: "mqtt://`+broker.addr+`"}
queue: {path: %DIR%/queue.db}
sensors: {load: {kind: simulated, counter: {}, every: 1s}}
`)
	a.start()
	eventually(t, time.Minute, "the agent is online", func() bool { return now.last("/status").raw == "online" })
	a.kill()
	eventually(t, time.Minute, "the will arrives", func() bool { return now.last("/status").raw == "offline" })
	now.client.Disconnect(0)
	later := subscribe(t, broker.addr, "porch/agent/status")
	eventually(t, time.Minute, "the will is retained", func() bool {
		last := later.last("/status")
		return last.raw == "offline" && last.retained
	})
}
