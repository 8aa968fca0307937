package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A serviceManager is a socket in place of systemd's.
type serviceManager struct {
	t      *testing.T
	socket *net.UnixConn
}

// newServiceManager creates the socket for an agent.
func newServiceManager(t *testing.T, a *agent) *serviceManager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	a.env = append(a.env, "NOTIFY_SOCKET="+name, "WATCHDOG_USEC=2000000")
	return &serviceManager{t, socket}
}

// await waits for a message that begins with a text, and returns it.
func (m *serviceManager) await(begin string) string {
	m.t.Helper()
	var heard []string
	buf := make([]byte, 4096)
	m.socket.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		n, err := m.socket.Read(buf)
		if err != nil {
			m.t.Fatalf("%v: no %q in %q", err, begin, heard)
		}
		if text := string(buf[:n]); strings.HasPrefix(text, begin) {
			return text
		} else {
			heard = append(heard, text)
		}
	}
}

// There is no network: 127.0.0.1:1 refuses every connection.
func TestServiceManagerIsNotified(t *testing.T) {
	t.Parallel()
	a := newAgent(t, fmt.Sprintf(lonely, ""))
	m := newServiceManager(t, a)
	a.start()
	if got := m.await("READY=1"); !strings.Contains(got, "STATUS=not connected to 127.0.0.1:1, backlog ") {
		t.Errorf("ready: %q", got)
	}
	m.await("WATCHDOG=1")
	good, err := os.ReadFile(a.configPath())
	if err != nil {
		t.Fatal(err)
	}
	a.configure("colour: red\n")
	a.cmd.Process.Signal(syscall.SIGHUP)
	if got := m.await("RELOADING=1"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
		t.Errorf("reload: %q", got)
	}
	m.await("READY=1")
	a.configure(string(good))
	a.cmd.Process.Signal(syscall.SIGHUP)
	m.await("RELOADING=1")
	m.await("READY=1")
	m.await("WATCHDOG=1")
	a.stop()
	m.await("STOPPING=1")
}

func TestServiceManagerIsNotifiedOfTheConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	a := newAgent(t, fmt.Sprintf("client_id: porch\nmqtt: {server: embedded, embedded: {listen: %q}}\n"+
		"queue: {path: %%DIR%%/queue.db}\nsensors:\n  load: {kind: simulated, counter: {}, every: 100ms}\n", address))
	m := newServiceManager(t, a)
	a.start()
	m.await("READY=1")
	m.await("STATUS=connected to " + address)
	a.stop()
}
