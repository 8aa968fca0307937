package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/queue"
)

// A file with the backlog of another client ID was moved aside by the agent: the card was
// cloned, or the node renamed. See queue.Options.ClientID.

// exportAll exports the queue, or the backlog of another client ID that was moved aside. It
// removes nothing, so an interrupted export can be repeated.
func (s *queueCmd) exportAll() error {
	// Without -from the user may not know of other backlogs, so they are named on stderr.
	others := queue.Others(s.path)
	if s.from == "" {
		for _, o := range others {
			id := oneLine(o.ClientID)
			fmt.Fprintf(stderr, "holdfast: queue %s: the backlog of client ID %s lies beside it: "+
				"add --from %s to export it\n", s.path, id, id)
		}
		return s.export()
	}
	// There may be several files of one client ID, moved aside at different times.
	found := false
	for _, o := range others {
		if o.ClientID != s.from {
			continue
		}
		found = true
		// As with -file, each line has the client ID, because it is not that of the configuration.
		other := *s
		other.path, other.named = o.Path, true
		if err := other.export(); err != nil {
			return err
		}
	}
	if !found {
		return s.noBacklog(others)
	}
	return nil
}

// noBacklog is the error for a client ID without a backlog here. It lists those that have
// one, each once, in the order of the files. It is a usage error in both cases.
func (s *queueCmd) noBacklog(others []queue.Other) error {
	if len(others) == 0 {
		return usageError{fmt.Errorf("queue %s: no backlog of another client ID lies beside it", s.path)}
	}
	ids := map[string]bool{} // that are in names
	var names []string
	for _, o := range others {
		if !ids[o.ClientID] {
			names = append(names, o.ClientID)
		}
		ids[o.ClientID] = true
	}
	return usageError{fmt.Errorf("queue %s: --from takes the client ID of a backlog that lies beside it: %s",
		s.path, strings.Join(names, ", "))}
}

// adopt takes the backlog over: through the agent if it runs, otherwise directly. It needs
// the configuration, because the adopted backlog is sent under its client ID, after what
// waits already. Then its file is deleted: see queue.Queue.Adopt.
func (s *queueCmd) adopt() error {
	if s.named {
		return usageError{errors.New("queue adopt needs to know the present client ID: " +
			"give a configuration with -c, and no -file")}
	}
	// Checked before the agent is asked, so that a mistyped client ID lists the right ones.
	others := queue.Others(s.path)
	known := false
	for _, o := range others {
		known = known || o.ClientID == s.from
	}
	if !known {
		return s.noBacklog(others)
	}
	// The agent has the queue open; without an agent the command opens it.
	agent, err := control.AskToAdopt(s.opt.Path, s.from)
	// 0 if no agent runs.
	n := agent.Adopted
	switch {
	case errors.Is(err, fs.ErrPermission): // the socket is only for the agent's user
		return usageError{fmt.Errorf("%w: %s", err, s.asOwner())}
	case errors.Is(err, control.ErrNotRunning):
		n, err = s.adoptFile()
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d readings and events of client ID %s wait now under %s\n", n, s.from, s.opt.ClientID)
	return nil
}

// adoptFile opens the queue instead of the agent. It returns how many readings and events
// were adopted.
func (s *queueCmd) adoptFile() (int, error) {
	if err := s.mustBeOwner(); err != nil {
		return 0, err
	}
	return withQueue(s.opt, func(q *queue.Queue) (int, error) { return q.Adopt(s.from) })
}
