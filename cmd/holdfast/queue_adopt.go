package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/queue"
)

// A file that holds the backlog of another client ID was moved aside by the
// agent: the card was cloned, or the node renamed. See queue.Options.ClientID.

// exportAll exports the queue, or what was moved aside as the backlog of another client
// ID. Nothing is removed by it: an export that is cut short can be made again.
func (s *queueCmd) exportAll() error {
	// Without -from a person may not know that there is more: it is said on stderr.
	others := queue.Others(s.path)
	if s.from == "" {
		for _, o := range others {
			id := oneLine(o.ClientID)
			fmt.Fprintf(stderr, "holdfast: queue %s: the backlog of client ID %s lies beside it: "+
				"add --from %s to export it\n", s.path, id, id)
		}
		return s.export()
	}
	// There may be several files of one client ID, from several moves.
	found := false
	for _, o := range others {
		if o.ClientID != s.from {
			continue
		}
		found = true
		// As with -file: each line has the client ID, which is not the present one.
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

// noBacklog is the error for a client ID that has no backlog here. It lists those that
// have, each once. They are in the order of the files. It is a usage error in both
// cases.
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

// adopt takes the backlog over: through the agent if it runs, else by itself. It needs
// the configuration, because what is adopted is sent under the client ID in it. It is
// sent behind what waits already, and its file is deleted: see queue.Queue.Adopt.
func (s *queueCmd) adopt() error {
	if s.named {
		return usageError{errors.New("queue adopt needs to know the present client ID: " +
			"give a configuration with -c, and no -file")}
	}
	// Before the agent is asked, so that a mistyped client ID lists the right ones.
	others := queue.Others(s.path)
	known := false
	for _, o := range others {
		known = known || o.ClientID == s.from
	}
	if !known {
		return s.noBacklog(others)
	}
	// The agent has the queue open; without one the command takes its place.
	agent, err := control.AskToAdopt(s.opt.Path, s.from)
	// 0 if no agent was there to ask.
	n := agent.Adopted
	switch {
	case errors.Is(err, fs.ErrPermission): // the socket is for the agent's user alone
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

// adoptFile opens the queue in the place of the agent. It returns how many readings and
// events were adopted.
func (s *queueCmd) adoptFile() (int, error) {
	if err := s.mustBeOwner(); err != nil {
		return 0, err
	}
	return withQueue(s.opt, func(q *queue.Queue) (int, error) { return q.Adopt(s.from) })
}
