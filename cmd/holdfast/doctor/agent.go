package doctor

import (
	"context"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

// agentChecks ask the running agent, if there is one: it holds the sensors and the session,
// so the doctor cannot test them itself.
//
// None runs at the start of an agent: it would ask itself.
var agentChecks = []Check{
	{"agent", "the running agent, through its control socket: its disk, its link, and messages that the broker refuses",
		false,
		[]*Fault{agentDisk, agentAway, agentRival, agentHeld, agentOrders, agentAside}, (*Site).noAgent, checkAgent},
	{"agent-sensors", "the sensors of the agent that runs", false,
		[]*Fault{agentSensor}, (*Site).noAgent, checkAgentSensors},
	{"agent-outputs", "the outputs of the agent that runs: whether each does what it was told", false,
		[]*Fault{agentOutput}, (*Site).noAgent, checkAgentOutputs},
}

var (
	// The most urgent one comes first: readings that are only in memory are lost when the power
	// fails, so the process must not be stopped before the disk works again.
	agentDisk = &Fault{Error,
		"the agent that runs (process {pid}) cannot write its queue: what waits is in memory alone",
		"see dmesg whether the card fails, and below what fills it"}
	// The text is the last error of the link. It may be hours old while the broker is away, and
	// still names the cause.
	agentAway = &Fault{Error, "the agent that runs has no session with a broker: {text}",
		"mend what is named there or below; holdfast status shows when it tries again"}
	// The agent reports this only after it has proven it: see package uplink. The broker ends
	// the session of one client each time that the other connects.
	agentRival = &Fault{Error,
		"another client connects with the client ID {client_id}: {times} of the last events tell of it",
		"give each node a client_id of its own (a copied SD card has its original's); or stop the other"}
	// The link is up, and nothing is sent, because the broker would acknowledge and drop it.
	agentHeld = &Fault{Error, "the agent that runs holds its backlog: {text}",
		"allow this account to publish and to read {client_id}/# in the broker's access list; " +
			"mqtt.prove_publish: false if it may write and not read"}
	// Readings are delivered, so there is no other symptom.
	agentOrders = &Fault{Error, "the agent that runs gets no orders: {text}",
		"allow this account to read {client_id}/+/set in the broker's access list, or mend the key file"}
	// A warning: other readings are delivered, and these are kept.
	agentAside = &Fault{Warning, "the broker refuses {count} readings or events of the agent that runs",
		"holdfast queue export --aside prints them; see the broker's access list and its limits"}

	// The text comes from the driver, which knows the bus and the address.
	agentSensor = &Fault{Error, "the agent that runs cannot read {stream}: {text}",
		"check the wiring and the supply of the sensor, and its options in the file"}

	// The agent has already tried to set the output to its safe level, as often as it may.
	agentOutput = &Fault{Error, "the agent that runs does not know whether output {output} is on: {text}",
		"look at it, and switch it off at its supply if it is on; then check its wiring and its options in the file"}
)

// noAgent returns why no agent is asked. It is empty if one was asked.
func (s *Site) noAgent() string {
	if s.Agent == nil {
		return "no agent runs with this queue"
	}
	return ""
}

// checkAgent evaluates the agent's answer about its disk and its link. The answer is from
// the start of the doctor: a link that breaks later is not noticed.
func checkAgent(_ context.Context, s *Site) (found []Finding) {
	link, id := s.Agent.Link, s.Config.Uplink.ClientID
	if link.Connected && link.MQTT != "" {
		s.notes = append(s.notes, link.Server+" by MQTT "+link.MQTT)
	}
	if s.Agent.Queue.Failing {
		found = append(found, agentDisk.at("pid", s.Agent.Node.PID))
	}
	if !link.Connected && link.Error != "" {
		found = append(found, agentAway.at("text", link.Error))
	}
	if n := takeOvers(s.Agent.Events); n > 0 {
		found = append(found, agentRival.at("client_id", id, "times", n))
	}
	if link.Connected && link.Held != "" {
		found = append(found, agentHeld.at("text", link.Held, "client_id", id))
	}
	if link.NoOrders != "" {
		found = append(found, agentOrders.at("text", link.NoOrders, "client_id", id))
	}
	if s.Agent.Queue.Aside > 0 {
		found = append(found, agentAside.at("count", s.Agent.Queue.Aside))
	}
	return found
}

// takeOvers counts the events about another client with our client ID. The agent keeps only
// the last fifty events, so the number is an indication, not a total.
func takeOvers(events []status.Event) (n int) {
	for _, e := range events {
		if e.Name == "take_over" {
			n++
		}
	}
	return n
}

// checkAgentSensors reports each stream that has an error in place of a value: a sensor
// with several quantities that fails has one finding for each.
func checkAgentSensors(_ context.Context, s *Site) (found []Finding) {
	for _, st := range s.Agent.Sensors() {
		if st.Error != "" {
			found = append(found, agentSensor.at("stream", st.Name, "text", st.Error))
		}
	}
	return found
}

// checkAgentOutputs reports each output whose state is unknown.
func checkAgentOutputs(_ context.Context, s *Site) (found []Finding) {
	for _, o := range s.Agent.Outputs {
		if o.Error != "" {
			found = append(found, agentOutput.at("output", o.Name, "text", o.Error))
		}
	}
	return found
}
