package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

// ErrNotRunning means that no agent with that queue listens.
var ErrNotRunning = errors.New("the agent does not run, or has no control socket")

const (
	purgePatience = 2 * time.Minute  // a full queue on a slow card is one large commit
	adoptPatience = 30 * time.Minute // a full queue is written once more, at the pace of sync_every

	// A Pi Zero needs seconds to write down the last hour of ten thousand streams.
	statusPatience = 30 * time.Second
)

// Ask asks the agent whose queue is at a path: Stats or Purge. It waits for up to
// two minutes for a purge and else for five seconds. If the agent does not do what it
// was asked, there is an answer and an error.
func Ask(path, do string) (a Answer, err error) {
	return ask(path, request{Do: do})
}

// AskToAdopt asks the agent to take over the backlog of another client ID, and waits
// for up to half an hour. Also with an error the answer says how many were adopted.
func AskToAdopt(path, clientID string) (a Answer, err error) {
	return ask(path, request{Do: Adopt, From: clientID})
}

// MakeSafe has the agent make all outputs safe. The error says which are not.
func MakeSafe(path string) error {
	_, err := ask(path, request{Do: makeSafe})
	return err
}

// TellUpdated has the agent report the event "update" with these details, which
// have to marshal to a JSON object.
func TellUpdated(path string, details any) error {
	text, err := json.Marshal(details)
	if err != nil {
		return err
	}
	_, err = ask(path, request{Do: updated, Outcome: text})
	return err
}

// AskStatus asks the agent for all that it knows of itself.
func AskStatus(path string) (status.Snapshot, error) {
	a, err := ask(path, request{Do: Status})
	switch {
	case err != nil:
		return status.Snapshot{}, err
	case a.Status == nil:
		return status.Snapshot{}, errors.New("the agent that runs is older than this command: restart it")
	}
	return *a.Status, nil
}

// ask sends one request and reads one answer. An agent with another queue in the
// same folder counts as none.
func ask(path string, req request) (a Answer, err error) {
	req.Queue = filepath.Base(path)
	conn, err := net.DialTimeout("unix", socketFor(path), patience)
	if err != nil {
		// EINVAL: the path is too long for a socket, so no agent listens there.
		for _, none := range [...]error{fs.ErrNotExist, syscall.ECONNREFUSED, syscall.ENOTDIR, syscall.EINVAL} {
			if errors.Is(err, none) {
				return a, ErrNotRunning
			}
		}
		return a, fmt.Errorf("ask the agent: %w", err)
	}
	defer conn.Close()
	// Within its time the agent answers also what it could not do.
	wait := patience
	switch req.Do {
	case Purge:
		wait = purgePatience
	case Adopt:
		wait = adoptPatience
	case Status:
		wait = statusPatience
	}
	conn.SetDeadline(time.Now().Add(wait))
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return a, fmt.Errorf("ask the agent: %w", err)
	}
	line, err := readLine(conn, maxAnswer)
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	switch {
	case err != nil:
		return a, fmt.Errorf("the agent listens on %s and does not answer: %w", socketFor(path), err)
	case a.Queue != req.Queue:
		return a, ErrNotRunning // that is the agent of another queue
	case a.Error != "":
		return a, fmt.Errorf("the agent: %s", a.Error)
	}
	return a, nil
}
