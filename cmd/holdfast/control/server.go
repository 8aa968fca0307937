// Package control lets a command ask the agent that runs.
//
// The agent listens on a unix socket in its state directory, control.sock. A
// client sends one request, a line of JSON, and gets one answer, a line of
// JSON. A request names the file of the queue that it is about, so that nobody
// purges the queue of another agent. The socket is for the user that the agent
// runs as, and for root.
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
	// They bound what a program of the same user can cost the agent, which goes on
	// meanwhile.
	maxClients = 8               // at a time; others wait
	maxLine    = 64 << 10        // bytes of a request
	maxAnswer  = 16 << 20        // bytes of an answer: the status of ten thousand streams, with their last hour
	patience   = 5 * time.Second // with a peer that does not speak or listen

	// endPatience is the same at the end: the queue is closed after this, and has little time.
	endPatience = 500 * time.Millisecond
)

// lookAgain is how often it is seen whether the socket is still there. Tests change it
// before Serve.
var lookAgain = time.Minute

// A Queue is what the agent can be asked about. Its methods may be called from any
// goroutine; they are those of queue.Queue.
type Queue interface {
	Boot() string
	Stats() queue.Stats
	Purge() (int, error)
	Adopt(clientID string) (int, error)
}

// What can be asked.
const (
	Stats  = "stats"
	Purge  = "purge"  // gives up all that waits
	Adopt  = "adopt"  // takes over the backlog of another client ID
	Status = "status" // all that the node knows of itself

	makeSafe = "safe" // makes all outputs safe

	updated = "updated" // tells the outcome of an update, which becomes an event
)

// An Agent is what answers.
type Agent struct {
	Queue    Queue
	Snapshot func() status.Snapshot // for Status; may be called from any goroutine
	MakeSafe func() error           // makes all outputs safe, within two seconds; from any goroutine
	Updated  func(json.RawMessage)  // takes the outcome of an update, a JSON object; from any goroutine
}

// A request is one line of JSON from a client.
type request struct {
	Do    string `json:"do"`
	Queue string `json:"queue"`          // the file's name in the state directory
	From  string `json:"from,omitempty"` // Adopt: the client ID

	Outcome json.RawMessage `json:"outcome,omitempty"` // updated: the details of the event
}

// An Answer is what the agent says. It has more fields than other types: it is one line
// of JSON whose keys commands and people read, and an older command ignores new ones.
type Answer struct {
	Queue    string `json:"queue"`           // the file's name in the state directory
	Error    string `json:"error,omitempty"` // why it was not done
	PID      int    `json:"pid"`             // of the agent
	Boot     string `json:"boot"`            // the start of the agent
	Backlog  int    `json:"backlog"`         // readings, events and gaps not acknowledged
	Memory   int    `json:"memory"`          // of these, in memory alone
	Rejected int    `json:"aside"`           // readings and events that the broker refuses: they wait no longer
	Dropped  uint64 `json:"dropped"`         // since the start
	Failing  bool   `json:"failing"`         // the disk fails, or hangs
	Purged   int    `json:"purged,omitempty"`
	Adopted  int    `json:"adopted,omitempty"` // readings and events

	Status *status.Snapshot `json:"status,omitempty"` // for Status alone

	Commits      uint64 `json:"commits"`       // since the start
	Written      int64  `json:"written"`       // bytes, by these commits
	CommitsToday uint64 `json:"commits_today"` // since midnight UTC, or since the start
	WrittenToday int64  `json:"written_today"` // bytes
}

// Serve answers for an agent, whose queue is the file at a path, until ctx is done. A
// socket that cannot be made is a warning: the agent is worth more than it. One
// that goes, with its folder or because the disk fails, is made anew.
func Serve(ctx context.Context, path string, agent Agent, log *slog.Logger) error {
	warned := false
	for {
		l, err := Listen(socketFor(path), 0o600)
		if err == nil {
			// It comes back when the socket is gone, or at the end.
			s := server{file: filepath.Base(path), agent: agent}
			s.listen(ctx, l, socketFor(path), log)
			warned = false
		} else if !warned && ctx.Err() == nil {
			log.Warn("no control socket: holdfast queue cannot ask this agent", "err", err)
			warned = true
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen answers until ctx is done or the socket is gone.
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
	// A socket that was deleted still accepts nobody: it has to be made anew.
	clients.Go(func() { defer end(); watch(ctx, path, ours) })
	places := make(chan struct{}, maxClients)
	for ctx.Err() == nil {
		places <- struct{}{} // a client leaves within its deadlines
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
		case <-time.After(patience):
		case <-ctx.Done():
		}
	}
	clients.Wait()
	if isAt(path, ours) { // else it is that of another agent
		os.Remove(path)
	}
}

// watch returns when the socket is not at its path any more.
func watch(ctx context.Context, path string, ours os.FileInfo) {
	look := time.NewTicker(lookAgain)
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

// socketFor is the socket beside a queue's file.
func socketFor(path string) string { return filepath.Join(filepath.Dir(path), "control.sock") }

// Listen makes a socket in the place of one that nobody listens on any more:
// beside it, so that it is never there with another mode. Closing the listener
// leaves the socket where it is.
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
	l.SetUnlinkOnClose(false) // its name changes
	if err = os.Chmod(part, mode); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), removeSocket(part))
	}
	return l, nil
}

// makeVacant makes sure that a socket can be made at a path: nobody listens there, and
// what lies there is an old socket, which it removes.
func makeVacant(path string) error {
	conn, err := net.DialTimeout("unix", path, patience)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s: another agent listens there: give each a folder of its own with queue.path", path)
	}
	// The agent that made it was killed.
	if errors.Is(err, syscall.ECONNREFUSED) {
		return removeSocket(path)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // EINVAL comes again
		return nil
	}
	return err
}

// removeSocket removes a socket, if there is one, and nothing else.
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

// A server answers for one agent.
type server struct {
	file  string // of the queue, its name in the state directory
	agent Agent
}

// serve hears one request and answers it. At the end of ctx it stops hearing,
// and still answers what it has heard, to a client that listens.
func (s *server) serve(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(patience))
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	line, err := readLine(conn, maxLine)
	if len(line) == 0 && err != nil {
		return // nothing was asked
	}
	var req request
	if err == nil {
		err = json.Unmarshal(line, &req)
	}
	answer, _ := json.Marshal(s.answer(req, err))
	// The time of a large answer begins when it is complete.
	conn.SetWriteDeadline(time.Now().Add(patience))
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now().Add(endPatience)) })()
	conn.Write(append(answer, '\n')) // a client that has gone wants none
}

// readLine reads a line of at most max bytes; a longer one has no end.
func readLine(r io.Reader, max int64) ([]byte, error) {
	return bufio.NewReader(io.LimitReader(r, max)).ReadBytes('\n')
}

// isObject reports whether a text is a JSON object.
func isObject(text json.RawMessage) bool {
	var object map[string]any
	return json.Unmarshal(text, &object) == nil && object != nil
}

// answer does what was asked, unless err says that the request could not be read. It
// always has what the queue holds: one form for all requests.
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
