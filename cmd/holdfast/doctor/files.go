package doctor

import (
	"context"
	"strings"
)

// fileChecks look at what is written down, and at the agent that may run.
var fileChecks = []Check{
	{"configuration", "what is no mistake in the file and still worth a word", false,
		[]*Fault{configWarning}, nil, checkConfig},
	{"secrets", "the password and the certificates: whether they can be read, fit together, and are private", false,
		[]*Fault{secretBroken, secretOdd}, nil, checkSecrets},
	{"agent", "the agent that runs, asked through its control socket: its disk, its link, and what the broker refuses",
		false,
		[]*Fault{agentDisk, agentAway, agentHeld, agentAside}, (*Site).noAgent, checkAgent},
}

var (
	// The texts are those of package config and of uplink/mqtt, which have the mend in
	// them.
	configWarning = &Fault{Warning, "{text}", "change it in the file; holdfast check repeats what is said here"}
	secretBroken  = &Fault{Error, "{text}",
		"mend or replace that file, readable for the user that runs holdfast and not for others"}
	secretOdd = &Fault{Warning, "{text}", "write the file anew"}

	// Faults that the agent which runs knows of, and that the doctor must not try.
	agentDisk = &Fault{Error,
		"the agent that runs (process {pid}) cannot write its queue: what waits is in memory alone",
		"see dmesg whether the card fails, and below what fills it"}
	agentAway = &Fault{Error, "the agent that runs has no session with a broker: {text}",
		"mend what is named there or below; holdfast status shows when it tries again"}
	agentHeld = &Fault{Error, "the agent that runs holds its backlog: {text}",
		"allow this account to publish and to read {client_id}/# in the broker's access list; " +
			"mqtt.prove_publish: false if it may write and not read"}
	agentAside = &Fault{Warning, "the broker refuses {count} readings or events of the agent that runs",
		"holdfast queue export --aside prints them; see the broker's access list and its limits"}
)

// noAgent says why no agent is asked.
func (s *Site) noAgent() string {
	if s.Agent == nil {
		return "no agent runs with this queue"
	}
	return ""
}

// checkAgent judges what the agent that runs has answered.
func checkAgent(_ context.Context, s *Site) (found []Finding) {
	if s.Agent.Queue.Failing {
		found = append(found, agentDisk.at("pid", s.Agent.Node.PID))
	}
	if link := s.Agent.Link; !link.Connected && link.Error != "" {
		found = append(found, agentAway.at("text", link.Error))
	} else if link.Held != "" {
		found = append(found, agentHeld.at("text", link.Held, "client_id", s.Config.Uplink.ClientID))
	}
	if s.Agent.Queue.Aside > 0 {
		found = append(found, agentAside.at("count", s.Agent.Queue.Aside))
	}
	return found
}

// checkConfig repeats the warnings of check: mistakes end before the doctor begins.
func checkConfig(_ context.Context, s *Site) (found []Finding) {
	for _, w := range s.Config.Warnings {
		found = append(found, configWarning.at("text", w.Error()))
	}
	return found
}

// checkSecrets reads every file that a connection needs.
func checkSecrets(ctx context.Context, s *Site) (found []Finding) {
	if s.Config.Embedded != nil {
		if _, err := s.Config.Embedded.Password.Read(ctx); err != nil {
			found = append(found, secretBroken.at("text", err))
		}
		return found
	}
	warnings, err := s.Config.Uplink.Check(ctx)
	for _, w := range warnings {
		found = append(found, secretOdd.at("text", w))
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			found = append(found, secretBroken.at("text", line))
		}
	}
	return found
}
