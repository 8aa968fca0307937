package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/queue"
)

// fakeQueue is a queue of five readings, one of them in memory.
type fakeQueue struct {
	mu     sync.Mutex
	n      int
	broken error
}

func (s *fakeQueue) Boot() string { return "7-0badcafe" }

func (s *fakeQueue) Stats() queue.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return queue.Stats{Backlog: s.n, Memory: 1, Rejected: 2, Dropped: 3, Failing: true, Commits: 9, Written: 4096,
		CommitsToday: 2, WrittenToday: 1024}
}

func (s *fakeQueue) Purge() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.n
	s.n = 0
	return n, s.broken
}

func (s *fakeQueue) Adopt(clientID string) (int, error) {
	if clientID != "porch" {
		return 0, queue.ErrNoBacklog
	}
	return 7, nil
}

type served struct {
	path string // of the queue
	log  bytes.Buffer

	updated atomic.Value // the details of the last reported update
	stop    func()       // stops and waits
}

// start serves a queue in a folder and waits for the socket, if one is expected.
func start(t *testing.T, dir string, q Queue, there bool) *served {
	t.Helper()
	s := &served{path: filepath.Join(dir, "queue.db")}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	agent := Agent{Queue: q, Snapshot: func() status.Snapshot {
		return status.Snapshot{Node: status.Node{Boot: q.Boot()}, Streams: make([]status.Stream, 2000)}
	}, Updated: func(details json.RawMessage) { s.updated.Store(string(details)) }}
	go func() { ended <- Serve(ctx, s.path, agent, slog.New(slog.NewTextHandler(&s.log, nil))) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Serve ended with %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("Serve goes on after the end of its context")
		}
	})
	t.Cleanup(s.stop)
	for end := time.Now().Add(time.Minute); there; time.Sleep(time.Millisecond) {
		if _, err := Ask(s.path, Stats); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	return s
}

// folder has a short name: the length of a socket's path is limited.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// say sends bytes and returns the answer, "" if there is none.
func say(t *testing.T, path, text string) string {
	t.Helper()
	conn, err := net.Dial("unix", socketFor(path))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go conn.Write([]byte(text)) // the server may close the connection before the end
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return line
}

func TestStatsAndPurge(t *testing.T) {
	q := &fakeQueue{n: 5}
	s := start(t, folder(t), q, true)
	want := Answer{Queue: "queue.db", PID: os.Getpid(), Boot: "7-0badcafe", Backlog: 5, Memory: 1, Rejected: 2,
		Dropped: 3, Failing: true,
		Commits: 9, Written: 4096, CommitsToday: 2, WrittenToday: 1024}
	if got, err := Ask(s.path, Stats); got != want || err != nil {
		t.Errorf("stats: %+v, %v, want %+v", got, err, want)
	}
	if got, err := Ask(s.path, Purge); got.Purged != 5 || got.Backlog != 0 || err != nil {
		t.Errorf("purge: %+v, %v, want 5 gone", got, err)
	}
	q.n, q.broken = 2, errors.New("the disk fails")
	if got, err := Ask(s.path, Purge); got.Purged != 2 || err == nil ||
		!strings.Contains(err.Error(), "the disk fails") {
		t.Errorf("purge of a failing disk: %+v, %v, want 2 gone and why not all", got, err)
	}
}

func TestAdopt(t *testing.T) {
	s := start(t, folder(t), &fakeQueue{}, true)
	if got, err := AskToAdopt(s.path, "porch"); got.Adopted != 7 || err != nil {
		t.Errorf("adopt: %+v, %v, want 7", got, err)
	}
	if _, err := AskToAdopt(s.path, "attic"); err == nil || !strings.Contains(err.Error(), queue.ErrNoBacklog.Error()) {
		t.Errorf("adopt of nothing: %v", err)
	}
}

// TestStatus has an answer that is larger than the limit of a request.
func TestStatus(t *testing.T) {
	s := start(t, folder(t), &fakeQueue{}, true)
	got, err := AskStatus(s.path)
	if err != nil || got.Node.Boot != "7-0badcafe" || len(got.Streams) != 2000 {
		t.Errorf("status: %+v with %d streams, %v", got.Node, len(got.Streams), err)
	}
}

// Each of ten thousand streams has the history of an hour.
func TestStatusOfTenThousandStreams(t *testing.T) {
	values := make([]float32, 90)
	for i := range values {
		values[i] = 1013.25 + float32(i)/100
	}
	all := make([]status.Stream, 10000)
	for i := range all {
		all[i] = status.Stream{Name: fmt.Sprint("stream", i), Kind: "modbus", Unit: "hPa", Value: new(float64),
			History: &status.History{Step: 40, Values: values}}
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	agent := Agent{Queue: &fakeQueue{}, Snapshot: func() status.Snapshot { return status.Snapshot{Streams: all} }}
	path := filepath.Join(dir, "queue.db")
	go func() { ended <- Serve(ctx, path, agent, slog.New(slog.DiscardHandler)) }()
	defer func() { cancel(); <-ended }()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var s status.Snapshot
		if s, err = AskStatus(path); !errors.Is(err, ErrNotRunning) {
			if err != nil || len(s.Streams) != len(all) {
				t.Errorf("%d streams, %v", len(s.Streams), err)
			}
			return
		}
	}
	t.Error(err)
}

func TestSocketIsPrivateAndRemovedAtShutdown(t *testing.T) {
	s := start(t, folder(t), &fakeQueue{}, true)
	info, err := os.Stat(socketFor(s.path))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	s.stop()
	if left, _ := os.ReadDir(filepath.Dir(s.path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Ask(s.path, Stats); !errors.Is(err, ErrNotRunning) {
		t.Errorf("asked after the end: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := folder(t)
	for _, name := range []string{"control.sock", "control.sock.new"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	if _, err := Ask(filepath.Join(dir, "queue.db"), Stats); !errors.Is(err, ErrNotRunning) {
		t.Errorf("asked on a stale socket: %v", err)
	}
	start(t, dir, &fakeQueue{}, true)
}

func TestAgentWorksWithoutASocket(t *testing.T) {
	file := folder(t)
	if err := os.WriteFile(filepath.Join(file, "control.sock"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"no folder": "/nowhere/at/all",
		"too long":  filepath.Join(folder(t), strings.Repeat("long/", 30)),
		"a file":    file,
	} {
		t.Run(name, func(t *testing.T) {
			if name == "too long" {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			s := start(t, dir, &fakeQueue{}, false)
			time.Sleep(20 * time.Millisecond)
			s.stop()
			if !strings.Contains(s.log.String(), "no control socket") || strings.Count(s.log.String(), "\n") != 1 {
				t.Errorf("the log says %q, want one warning", s.log.String())
			}
		})
	}
	if text, err := os.ReadFile(filepath.Join(file, "control.sock")); string(text) != "mine" {
		t.Errorf("somebody's file is %q, %v", text, err)
	}
}

func TestTwoAgentsInOneFolderDoNotAnswerForEachOther(t *testing.T) {
	dir := folder(t)
	first, second := &fakeQueue{n: 5}, &fakeQueue{n: 6}
	s := start(t, dir, first, true)
	other := start(t, dir, second, false)
	time.Sleep(20 * time.Millisecond)
	if _, err := Ask(filepath.Join(dir, "other.db"), Purge); !errors.Is(err, ErrNotRunning) {
		t.Errorf("purge of another queue: %v", err)
	}
	other.stop()
	if !strings.Contains(other.log.String(), "another agent listens there") {
		t.Errorf("the second logs %q", other.log.String())
	}
	if got, err := Ask(s.path, Stats); got.Backlog != 5 || err != nil {
		t.Errorf("the first says %+v, %v, want its 5 readings", got, err)
	}
}

func TestUpdateOutcomeIsReported(t *testing.T) {
	s := start(t, folder(t), &fakeQueue{}, true)
	if err := TellUpdated(s.path, map[string]string{"result": "kept"}); err != nil ||
		s.updated.Load() != `{"result":"kept"}` {
		t.Errorf("taken %v, %v", s.updated.Load(), err)
	}
	for _, details := range []any{nil, 7, []int{1}, "text"} {
		if err := TellUpdated(s.path, details); err == nil {
			t.Errorf("%v is taken for the details of an event", details)
		}
	}
}

func TestGarbageIsAnsweredWithAnError(t *testing.T) {
	q := &fakeQueue{n: 5}
	s := start(t, folder(t), q, true)
	for _, text := range []string{
		"purge\n", "{}\n", "[]\n", "null\n", "{\"do\":7}\n", `{"do":"fly","queue":"queue.db"}` + "\n",
		`{"do":"purge"}` + "\n",
		`{"do":"purge","queue":"../queue.db"}` + "\n", "\x00\xff\n", strings.Repeat("x", maxLine+100),
	} {
		var a Answer
		if err := json.Unmarshal([]byte(say(t, s.path, text)), &a); err != nil || a.Error == "" {
			t.Errorf("%.40q is answered with %+v, %v", text, a, err)
		}
	}
	if conn, err := net.Dial("unix", socketFor(s.path)); err == nil {
		conn.Close() // sends nothing
	}
	if got, err := Ask(s.path, Stats); got.Backlog != 5 || err != nil {
		t.Errorf("afterwards: %+v, %v", got, err)
	}
}

func TestClientsDoNotWaitForEachOther(t *testing.T) {
	s := start(t, folder(t), &fakeQueue{n: 5}, true)
	silent, err := net.Dial("unix", socketFor(s.path))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			if got, err := Ask(s.path, Stats); got.Backlog != 5 || err != nil {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	asking.Wait()
	fmt.Fprintln(silent, `{"do":"stats","queue":"queue.db"}`)
	if line, err := bufio.NewReader(silent).ReadString('\n'); !strings.Contains(line, `"backlog":5`) {
		t.Errorf("the silent one gets %q, %v", line, err)
	}
}

// TestShutdownDoesNotWaitForSilentClients has more clients than the limit.
func TestShutdownDoesNotWaitForSilentClients(t *testing.T) {
	s := start(t, folder(t), &fakeQueue{}, true)
	for range 2 * maxClients {
		conn, err := net.Dial("unix", socketFor(s.path))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	time.Sleep(20 * time.Millisecond)
	s.stop()
}

// The queue is closed after the socket: a client that does not read its answer must not use up
// the time for that.
func TestShutdownDoesNotWaitForClientsThatDoNotRead(t *testing.T) {
	s := start(t, t.TempDir(), &fakeQueue{n: 5}, true)
	conn, err := net.Dial("unix", socketFor(s.path))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, `{"do":"status","queue":"queue.db"}`)
	// The answer has started, and does not fit into the socket's buffer.
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.stop()
}

// TestRemovedSocketIsCreatedAgain deletes the state directory.
func TestRemovedSocketIsCreatedAgain(t *testing.T) {
	old := checkSocketEvery
	checkSocketEvery = 10 * time.Millisecond
	dir := filepath.Join(folder(t), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir, &fakeQueue{n: 5}, true)
	defer func() { s.stop(); checkSocketEvery = old }()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the socket is checked while there is no folder
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := Ask(s.path, Stats); err == nil {
			return
		} else if time.Now().After(end) {
			t.Fatal("no socket after the folder is there again: ", err)
		}
	}
}
