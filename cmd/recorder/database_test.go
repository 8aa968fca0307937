package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store/postgrestest"
)

// complete stops the agents, and checks that nothing is missing.
func (r *recorder) complete(agents map[string]*program) {
	r.t.Helper()
	for _, a := range agents {
		a.stop()
	}
	for name := range agents {
		r.waitExplained(r.t, name)
	}
	if missing := r.count("SELECT coalesce(sum(count), 0) FROM gap WHERE state = 'missing'"); missing != 0 {
		out, _ := r.output("gaps")
		r.t.Errorf("%d readings are missing though the broker lived:\n%s", missing, out)
	}
	if n := r.unaccounted(); n != 0 {
		r.t.Errorf("%d numbers are not accounted for", n)
	}
	r.t.Log(r.counters())
}

// TestStoppedDatabaseLosesNothing stops PostgreSQL twice while agents publish.
func TestStoppedDatabaseLosesNothing(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	addr := freeAddr(t)
	startMosquitto(t, addr, "")
	r := startRecorderWith(t, addr, server.Database(t), "")
	agents := startAgents(t, 2, addr)
	for range 2 {
		r.waitForMore(200)
		failures := r.err.count("does not take a batch")
		server.Stop()
		eventually(t, "the recorder notices", func() bool { return r.err.count("does not take a batch") > failures })
		server.Run()
	}
	r.waitForMore(500)
	r.complete(agents)
}

// TestFullDiskLosesNothing fills the disk of SQLite, and makes room again.
func TestFullDiskLosesNothing(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("only root may mount a small disk")
	}
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	addr := freeAddr(t)
	startMosquitto(t, addr, "")
	r := startRecorderWith(t, addr, "sqlite:"+filepath.Join(dir, "history.db"), "")
	agents := startAgents(t, 2, addr)
	r.waitForMore(200)
	ballast := filepath.Join(dir, "ballast")
	eventually(t, "the recorder notices", func() bool {
		// Repeat until the disk is full: the recorder's own files grow, too.
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		return r.err.count("does not take a batch") > 0
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.waitForMore(500)
	r.complete(agents)
}

// A logBuffer keeps what a program writes. It may be read at any time.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// count returns the number of lines that contain a text.
func (l *logBuffer) count(text string) int { return strings.Count(l.String(), text) }

// TestTwoRecordersShareTheWork kills one of two recorders of a group, again and again.
func TestTwoRecordersShareTheWork(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	addr := freeAddr(t)
	startMosquitto(t, addr, "")
	database := server.Database(t)
	var group [2]*recorder
	for i := range group {
		group[i] = startRecorderWith(t, addr, database,
			fmt.Sprintf("client_id: recorder-%d\nmqtt: {server: \"mqtt://%s\", share: history}", i, addr))
	}
	agents := startAgents(t, 3, addr)
	for i := range 4 {
		group[0].waitForMore(300)
		group[i%2].kill()
		group[i%2].start()
	}
	group[0].waitForMore(1000)
	group[0].complete(agents)
}
