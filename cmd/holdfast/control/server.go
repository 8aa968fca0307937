// Package control lets a command ask the running agent.
//
// The agent listens on a unix socket in its state directory, control.sock. A client sends
// one request, a line of JSON, and gets one answer, a line of JSON. A request names the
// file of its queue, so that nobody purges the queue of another agent. The socket is for
// the user of the agent and for root.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/queue"
)

const (
	// They limit what a program of the same user can cost the agent.
	maxClients = 8               // at a time; others wait
	maxLine    = 64 << 10        // bytes of a request
	maxAnswer  = 16 << 20        // bytes of an answer: the status of ten thousand streams, with their last hour
	ioTimeout  = 5 * time.Second // for a peer that does not send or read

	// shutdownTimeout is the same at shutdown: the queue is closed after this, and has little time.
	shutdownTimeout = 500 * time.Millisecond
)

// checkSocketEvery is how often the server checks that the socket still exists. Tests
// change it before Serve.
var checkSocketEvery = time.Minute

// A Queue is the part of queue.Queue that requests use. Its methods may be called from any
// goroutine.
type Queue interface {
	Boot() string
	Stats() queue.Stats
	Purge() (int, error)
	Adopt(clientID string) (int, error)
}

// The kinds of requests.
const (
	Stats  = "stats"
	Purge  = "purge"  // discards everything that waits
	Adopt  = "adopt"  // takes over the backlog of another client ID
	Status = "status" // the state of the node

	makeSafe = "safe" // sets all outputs to their safe levels

	updated = "updated" // reports the outcome of an update, which becomes an event
)

// An Agent answers the requests.
type Agent struct {
	Queue    Queue
	Snapshot func() status.Snapshot // for Status; may be called from any goroutine
	MakeSafe func() error           // sets all outputs to their safe levels within two seconds; from any goroutine
	Updated  func(json.RawMessage)  // reports the outcome of an update, a JSON object; from any goroutine
}

// A request is one line of JSON from a client.
type request struct {
	Do    string `json:"do"`
	Queue string `json:"queue"`          // the file's name in the state directory
	From  string `json:"from,omitempty"` // Adopt: the client ID

	Outcome json.RawMessage `json:"outcome,omitempty"` // updated: the details of the event
}

// An Answer is the agent's answer to any request. It has more fields than other types
// because it is one line of JSON whose keys commands and people read; an older command
// ignores new ones.
type Answer struct {
	Queue    string `json:"queue"`           // the file's name in the state directory
	Error    string `json:"error,omitempty"` // why it was not done
	PID      int    `json:"pid"`             // process ID of the agent
	Boot     string `json:"boot"`            // ID of this start of the agent
	Backlog  int    `json:"backlog"`         // readings, events and gaps not acknowledged
	Memory   int    `json:"memory"`          // of these, only in memory
	Rejected int    `json:"aside"`           // readings and events that the broker refuses: not in Backlog
	Dropped  uint64 `json:"dropped"`         // since the start
	Failing  bool   `json:"failing"`         // the disk fails, or hangs
	Purged   int    `json:"purged,omitempty"`
	Adopted  int    `json:"adopted,omitempty"` // readings and events

	Status *status.Snapshot `json:"status,omitempty"` // only for Status

	Commits      uint64 `json:"commits"`       // since the start
	Written      int64  `json:"written"`       // bytes, by these commits
	CommitsToday uint64 `json:"commits_today"` // since midnight UTC, or since the start
	WrittenToday int64  `json:"written_today"` // bytes
}

// Serve answers requests for an agent whose queue is the file at a path, until ctx is done.
// If the socket cannot be created it logs a warning and tries again: the agent works
// without it. A socket that disappears, with its folder or because the disk fails, is
// created again.
func Serve(ctx context.Context, path string, agent Agent, log *slog.Logger) error {
	warned := false
	for {
		l, err := Listen(socketFor(path), 0o600)
		if err == nil {
			// listen returns when the socket has disappeared, or at the end.
			s := server{file: filepath.Base(path), agent: agent}
			s.listen(ctx, l, socketFor(path), log)
			warned = false
		} else if !warned && ctx.Err() == nil {
			log.Warn("no control socket: holdfast queue cannot ask this agent", "err", err)
			warned = true
		}
		select {
		case <-time.After(checkSocketEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen answers until ctx is done or the socket has disappeared.
func (s *server) listen(ctx context.Context, l *net.UnixListener, path string, log *slog.Logger) {
	ours, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var clients sync.WaitGroup
	// Nobody can connect to a socket file that was deleted, so a new one is needed.
	clients.Go(func() { defer end(); watch(ctx, path, ours) })
	places := make(chan struct{}, maxClients)
	for ctx.Err() == nil {
		places <- struct{}{} // each client's deadlines limit this wait
		conn, err := l.AcceptUnix()
		if err == nil {
			clients.Go(func() { s.serve(ctx, conn); <-places })
			continue
		}
		<-places
		if ctx.Err() != nil {
			break
		}
		log.Warn("control socket: no client was let in", "err", err)
		select {
		case <-time.After(ioTimeout):
		case <-ctx.Done():
		}
	}
	clients.Wait()
	if isAt(path, ours) { // otherwise it belongs to another agent
		os.Remove(path)
	}
}

// watch returns when the socket is no longer at its path.
func watch(ctx context.Context, path string, ours os.FileInfo) {
	look := time.NewTicker(checkSocketEvery)
	defer look.Stop()
	for isAt(path, ours) {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// isAt reports whether the file at a path is ours.
func isAt(path string, ours os.FileInfo) bool {
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(there, ours)
}

// socketFor is the path of the socket beside a queue's file.
func socketFor(path string) string { return filepath.Join(filepath.Dir(path), "control.sock") }

// Listen creates a socket, and replaces one that nobody listens on any more. It is created
// under another name and renamed, so that it never exists with another mode. Closing the
// listener leaves the socket file.
func Listen(path string, mode fs.FileMode) (l *net.UnixListener, err error) {
	if err := makeVacant(path); err != nil {
		return nil, err
	}
	part := path + ".new"
	if err := removeSocket(part); err != nil {
		return nil, err
	}
	l, err = net.ListenUnix("unix", &net.UnixAddr{Name: part, Net: "unix"})
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("%w: the path may be too long, a socket's ends at 107 bytes", err)
	}
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the file is renamed
	if err = os.Chmod(part, mode); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), removeSocket(part))
	}
	return l, nil
}

// makeVacant makes sure that a socket can be created at a path: it fails if somebody
// listens there, and removes an old socket.
func makeVacant(path string) error {
	conn, err := net.DialTimeout("unix", path, ioTimeout)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s: another agent listens there: give each a folder of its own with queue.path", path)
	}
	// The agent that created it was killed.
	if errors.Is(err, syscall.ECONNREFUSED) {
		return removeSocket(path)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // EINVAL: Listen will report it
		return nil
	}
	return err
}

// removeSocket removes a socket, if there is one; any other file is an error.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is not a socket, and stays", path)
	}
	return os.Remove(path)
}

// A server answers requests for one agent.
type server struct {
	file  string // the name of the queue's file in the state directory
	agent Agent
}

// serve reads one request and answers it. When ctx ends it stops reading, but still answers
// a request that it has read.
func (s *server) serve(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(ioTimeout))
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	line, err := readLine(conn, maxLine)
	if len(line) == 0 && err != nil {
		return // there was no request
	}
	var req request
	if err == nil {
		err = json.Unmarshal(line, &req)
	}
	answer, _ := json.Marshal(s.answer(req, err))
	// The time limit of a large answer starts when it is complete.
	conn.SetWriteDeadline(time.Now().Add(ioTimeout))
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now().Add(shutdownTimeout)) })()
	conn.Write(append(answer, '\n')) // an error means that the client has gone
}

// readLine reads a line of at most max bytes; a longer one is returned without its end.
func readLine(r io.Reader, max int64) ([]byte, error) {
	return bufio.NewReader(io.LimitReader(r, max)).ReadBytes('\n')
}

// isObject reports whether a text is a JSON object.
func isObject(text json.RawMessage) bool {
	var object map[string]any
	return json.Unmarshal(text, &object) == nil && object != nil
}

// answer executes a request, unless err shows that it could not be parsed. The answer
// always has the state of the queue, so that all requests have the same form.
func (s *server) answer(req request, err error) Answer {
	purged, adopted := 0, 0
	var all *status.Snapshot
	switch q := s.agent.Queue; {
	case err != nil:
		err = fmt.Errorf("a request is one line of JSON: %w", err)
	case req.Queue != s.file:
		err = fmt.Errorf("the agent's queue is %s, not %q", s.file, req.Queue)
	case req.Do == Purge:
		purged, err = q.Purge()
	case req.Do == Adopt:
		adopted, err = q.Adopt(req.From)
	case req.Do == Status:
		now := s.agent.Snapshot()
		all = &now
	case req.Do == makeSafe:
		err = s.agent.MakeSafe()
	case req.Do == updated && isObject(req.Outcome):
		s.agent.Updated(req.Outcome)
	case req.Do != Stats:
		err = fmt.Errorf("there is no request %q", req.Do)
	}
	st := s.agent.Queue.Stats()
	a := Answer{Queue: s.file, PID: os.Getpid(), Boot: s.agent.Queue.Boot(), Purged: purged, Adopted: adopted,
		Status:  all,
		Backlog: st.Backlog, Memory: st.Memory, Rejected: st.Rejected, Dropped: st.Dropped, Failing: st.Failing,
		Commits: st.Commits, Written: st.Written, CommitsToday: st.CommitsToday, WrittenToday: st.WrittenToday}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}
