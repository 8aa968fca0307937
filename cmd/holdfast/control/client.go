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

// ErrNotRunning means that no agent listens for that queue.
var ErrNotRunning = errors.New("the agent does not run, or has no control socket")

const (
	purgeTimeout = 2 * time.Minute  // a full queue on a slow card is one large commit
	adoptTimeout = 30 * time.Minute // a full queue is written once more, at the pace of sync_every

	// A Pi Zero needs seconds to encode the last hour of ten thousand streams.
	statusTimeout = 30 * time.Second
)

// Ask sends the request Stats or Purge to the agent whose queue is at a path. It waits for
// up to two minutes for a purge and five seconds otherwise. If the agent fails to do it,
// both the answer and the error are set.
func Ask(path, do string) (a Answer, err error) {
	return ask(path, request{Do: do})
}

// AskToAdopt asks the agent to take over the backlog of another client ID, and waits for up
// to half an hour. The answer has the number of adopted items even if there is an error.
func AskToAdopt(path, clientID string) (a Answer, err error) {
	return ask(path, request{Do: Adopt, From: clientID})
}

// MakeSafe has the agent set all outputs to their safe levels. The error lists the outputs
// that failed.
func MakeSafe(path string) error {
	_, err := ask(path, request{Do: makeSafe})
	return err
}

// TellUpdated has the agent report the event "update" with these details, which have to
// marshal to a JSON object.
func TellUpdated(path string, details any) error {
	text, err := json.Marshal(details)
	if err != nil {
		return err
	}
	_, err = ask(path, request{Do: updated, Outcome: text})
	return err
}

// AskStatus asks the agent for its status.
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

// ask sends one request and reads one answer. An agent with another queue in the same
// folder counts as not running.
func ask(path string, req request) (a Answer, err error) {
	req.Queue = filepath.Base(path)
	conn, err := net.DialTimeout("unix", socketFor(path), ioTimeout)
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
	// Within this time the agent also answers that it could not do something.
	wait := ioTimeout
	switch req.Do {
	case Purge:
		wait = purgeTimeout
	case Adopt:
		wait = adoptTimeout
	case Status:
		wait = statusTimeout
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
		return a, ErrNotRunning // it is the agent of another queue
	case a.Error != "":
		return a, fmt.Errorf("the agent: %s", a.Error)
	}
	return a, nil
}
