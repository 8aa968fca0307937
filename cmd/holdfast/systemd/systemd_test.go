package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/holdfast-iot/holdfast/build/rig/child"
)

// A manager records the messages, in place of the service manager.
type manager struct {
	mu   sync.Mutex
	sent []string
	log  child.Log
	*Notifier
}

func newManager(timeout time.Duration) *manager {
	m := &manager{}
	m.Notifier = newNotifier(slog.New(slog.NewTextHandler(&m.log, nil)), func(state string) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sent = append(m.sent, state)
		return nil
	}, timeout)
	m.watchdog.stuck = func() bool { return false }
	return m
}

// take returns the messages since the last call, and how often the watchdog was fed.
func (m *manager) take() (states []string, fed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sent {
		if s == "WATCHDOG=1" {
			fed++
		} else {
			states = append(states, s)
		}
	}
	m.sent = nil
	return states, fed
}

// running runs a Notifier with a watchdog timeout of a minute in a synctest bubble.
func running(t *testing.T, do func(m *manager)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newManager(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { m.Run(ctx) })
		do(m)
		cancel()
		run.Wait()
	})
}

func TestTheWatchdogIsFedWhileLoopsMakeProgress(t *testing.T) {
	running(t, func(m *manager) {
		writer, sensor := m.Loop("queue writer"), m.Loop("sensor door")
		sensor(0) // waits for an edge, for ever
		for range 60 {
			writer(time.Minute)
			time.Sleep(time.Minute - time.Millisecond)
		}
		if _, fed := m.take(); fed < 230 {
			t.Errorf("fed %d times in an hour, want every 15 s", fed)
		}
		if m.log.String() != "" {
			t.Errorf("the log says %s", m.log.String())
		}
	})
}

func TestHangingLoopIsReportedAndStopsTheWatchdog(t *testing.T) {
	for _, name := range []string{"queue writer", "link", "sensor door"} {
		t.Run(name, func(t *testing.T) {
			running(t, func(m *manager) {
				loops := map[string]func(time.Duration){}
				for _, all := range []string{"queue writer", "link", "sensor door"} {
					loops[all] = m.Loop(all)
				}
				loops[name](10 * time.Second)
				for range 60 {
					for other, progress := range loops {
						if other != name {
							progress(10 * time.Second)
						}
					}
					time.Sleep(time.Second)
				}
				// at 15 s and 30 s; feeding stops half a timeout after the progress was due
				if _, fed := m.take(); fed != 2 {
					t.Errorf("fed %d times while %s hung", fed, name)
				}
				if !strings.Contains(m.log.String(), "hangs") || !strings.Contains(m.log.String(), name) ||
					strings.Count(m.log.String(), "\n") != 1 {
					t.Errorf("the log says %q", m.log.String())
				}
				for _, progress := range loops {
					progress(time.Minute)
				}
				time.Sleep(time.Minute)
				if _, fed := m.take(); fed < 3 || !strings.Contains(m.log.String(), "progress again") {
					t.Errorf("fed %d times afterwards; the log says %q", fed, m.log.String())
				}
			})
		})
	}
}

// The text of the state may need a lock that the loop holds.
func TestHangingLoopIsReportedWhileDescribeBlocks(t *testing.T) {
	running(t, func(m *manager) {
		free := make(chan struct{}, 1) // a lock that lets the bubble's time pass
		free <- struct{}{}
		m.Ready(func() string {
			<-free
			free <- struct{}{}
			return ""
		})
		<-free
		defer func() { free <- struct{}{} }()
		m.Loop("queue writer")(time.Second)
		time.Sleep(time.Hour)
		if _, fed := m.take(); fed != 2 || !strings.Contains(m.log.String(), "queue writer") {
			t.Errorf("fed %d times; the log says %q", fed, m.log.String())
		}
	})
}

// A restart cannot end a loop that is blocked in the kernel, and delivery works without it.
func TestLoopBlockedInTheKernelIsReportedAndFed(t *testing.T) {
	running(t, func(m *manager) {
		m.watchdog.stuck = func() bool { return true }
		m.Loop("queue writer")(time.Second)
		time.Sleep(time.Hour)
		if _, fed := m.take(); fed < 239 {
			t.Errorf("fed %d times in an hour", fed)
		}
		if strings.Count(m.log.String(), "\n") != 1 || !strings.Contains(m.log.String(), "hangs in the kernel") {
			t.Errorf("the log says %q", m.log.String())
		}
	})
}

func TestForgetRemovesTheLoops(t *testing.T) {
	running(t, func(m *manager) {
		m.Loop("queue writer")(time.Second)
		m.Forget()
		time.Sleep(time.Hour)
		if _, fed := m.take(); fed < 239 {
			t.Errorf("fed %d times in an hour", fed)
		}
	})
}

func TestNotificationsAreInOrder(t *testing.T) {
	var backlog atomic.Int64
	running(t, func(m *manager) {
		describe := func() string { return fmt.Sprint("backlog ", backlog.Load()) }
		m.Kept() // before it is ready: nothing
		m.Ready(describe)
		time.Sleep(time.Hour)
		backlog.Store(7)
		time.Sleep(time.Hour)
		m.Changed()
		m.Reloading()
		m.Kept()
		m.Reloading()
		m.Forget()
		m.Changed()
		m.Ready(describe)
		got, _ := m.take()
		for i, s := range got {
			if before, _, ok := strings.Cut(s, "MONOTONIC_USEC="); ok {
				got[i] = before + "..."
			}
		}
		want := []string{"READY=1\nSTATUS=backlog 0", "STATUS=backlog 7",
			"RELOADING=1\n...", "READY=1\nSTATUS=backlog 7", "RELOADING=1\n...", "READY=1\nSTATUS=backlog 7"}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// The text of the state may contain an answer of the broker.
func TestStatusTextCannotInjectCommands(t *testing.T) {
	m := newManager(0)
	m.Ready(func() string { return "not connected: go away\nMAINPID=1\r" + strings.Repeat("é", 500) })
	m.Changed()
	got, _ := m.take()
	if len(got) != 1 || strings.Count(got[0], "\n") != 1 || len(got[0]) > 450 || !utf8.ValidString(got[0]) {
		t.Errorf("sent %q", got)
	}
}

func TestStoppingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		m.Run(ctx)
		if got, _ := m.take(); len(got) != 1 || !strings.HasPrefix(got[0], "STOPPING=1") {
			t.Errorf("sent %q", got)
		}
	})
}

func TestNilNotifierDoesNothing(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := New(slog.New(slog.DiscardHandler))
	if n != nil {
		t.Fatal("a Notifier, and nobody listens")
	}
	n.Ready(func() string { panic("asked") })
	n.Reloading()
	n.Kept()
	n.Changed()
	n.Forget()
	n.Loop("link")(time.Second)
	n.Run(t.Context())
}

// TestNotifySocketIsUsed speaks over a real socket.
func TestNotifySocketIsUsed(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "s"))
	t.Setenv("WATCHDOG_USEC", "60000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	n := New(slog.New(slog.DiscardHandler))
	n.Ready(func() string { return "connected" })
	n.feed()
	for _, want := range []string{"STATUS=starting", "READY=1\nSTATUS=connected", "WATCHDOG=1"} {
		buf := make([]byte, 4096)
		got, err := socket.Read(buf)
		if err != nil || string(buf[:got]) != want {
			t.Errorf("heard %q, %v, want %q", buf[:got], err, want)
		}
	}
	if n.watchdog.timeout != time.Minute {
		t.Errorf("a watchdog of %v", n.watchdog.timeout)
	}
}

func TestBlockedThreadsAreFound(t *testing.T) {
	dir := t.TempDir()
	write := func(thread, stat string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, thread), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, thread, "stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1", "1 (hold) D fast) S 1 1 1\n")
	write("2", "")
	if threadStuck(dir) {
		t.Error("a thread that sleeps counts as stuck")
	}
	write("3", "3 (holdfast) D 1 1 1\n")
	if !threadStuck(dir) {
		t.Error("a thread in uninterruptible sleep is not found")
	}
}
