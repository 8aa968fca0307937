// Package vm runs one QEMU machine and controls it through the console, the monitor (QMP),
// and qtest for the levels of its pins.
package vm

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/child"
)

// A Machine is a running QEMU.
type Machine struct {
	*Console
	monitor *monitor
	pins    *pins
	qemu    *child.Process
}

// Start runs the command with additional arguments, and the processor stopped: so links and
// pins can be set before the first instruction, and Run starts the processor. The console's
// output goes to log.
func Start(ctx context.Context, cmd *exec.Cmd, log io.Writer) (*Machine, error) {
	dir, err := os.MkdirTemp("", "holdfast-vm-") // a short path: that of a socket has at most 107 bytes
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // connected sockets need no file
	sockets, err := listen(dir, "qmp", "qtest")
	if err != nil {
		return nil, err
	}
	defer sockets.close()
	cmd.Args = append(cmd.Args, "-S", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio",
		"-qmp", "unix:"+sockets.path("qmp"), "-qtest", "unix:"+sockets.path("qtest"), "-qtest-log", "none")
	return start(ctx, cmd, sockets, log)
}

func start(ctx context.Context, cmd *exec.Cmd, sockets *sockets, log io.Writer) (*Machine, error) {
	keyboard, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	m := &Machine{Console: newConsole(keyboard, log)}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = m.Console, log, time.Second // QEMU's child processes may keep its output open
	if m.qemu, err = child.Start(cmd); err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	if err := m.connect(ctx, sockets); err != nil {
		m.Kill()
		return nil, err
	}
	return m, nil
}

func (m *Machine) connect(ctx context.Context, l *sockets) error {
	qmp, err := l.accept(ctx, "qmp", m.qemu)
	if err != nil {
		return err
	}
	qtest, err := l.accept(ctx, "qtest", m.qemu)
	if err != nil {
		return err
	}
	m.pins = newPins(qtest)
	m.monitor, err = newMonitor(qmp)
	return err
}

// Kill kills the machine: the second half of a power cut, after the disk.
func (m *Machine) Kill() { m.qemu.Kill() }

// Gone is closed when the machine has ended.
func (m *Machine) Gone() <-chan struct{} { return m.qemu.Done() }

// sockets are the sockets that QEMU connects to. QEMU is the client, so that no connection
// attempt has to be repeated until it listens.
type sockets struct {
	dir     string
	sockets map[string]*net.UnixListener
}

func listen(dir string, names ...string) (*sockets, error) {
	l := &sockets{dir, map[string]*net.UnixListener{}}
	for _, name := range names {
		s, err := net.ListenUnix("unix", &net.UnixAddr{Name: l.path(name), Net: "unix"})
		if err != nil {
			l.close()
			return nil, err
		}
		l.sockets[name] = s
	}
	return l, nil
}

func (l *sockets) path(name string) string { return filepath.Join(l.dir, name) }

func (l *sockets) close() {
	for _, s := range l.sockets {
		s.Close()
	}
}

const connects = 20 * time.Second // limit for QEMU to connect

// accept waits until QEMU connects to a socket, ends, or ctx is done.
func (l *sockets) accept(ctx context.Context, name string, qemu *child.Process) (net.Conn, error) {
	s := l.sockets[name]
	s.SetDeadline(time.Now().Add(connects))
	accepted := make(chan struct{})
	defer close(accepted)
	go func() {
		select {
		case <-ctx.Done():
		case <-qemu.Done():
		case <-accepted:
			return
		}
		s.SetDeadline(time.Now())
	}()
	c, err := s.Accept()
	if err != nil {
		return nil, fmt.Errorf("wait for QEMU's %s: %w", name, err)
	}
	return c, nil
}
