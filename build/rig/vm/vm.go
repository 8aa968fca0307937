// Package vm runs one QEMU machine and has its levers: the console, the monitor
// (QMP), and qtest for the levels of its pins.
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

// A Machine is a QEMU that runs.
type Machine struct {
	*Console
	monitor *monitor
	pins    *pins
	qemu    *child.Process
}

// Start runs the command, to which it adds what it needs, with the processor
// stopped: links and pins can be set before the first instruction, and Run lets
// it go. What the console says goes to log.
func Start(ctx context.Context, cmd *exec.Cmd, log io.Writer) (*Machine, error) {
	dir, err := os.MkdirTemp("", "holdfast-vm-") // short: the path of a socket has at most 107 bytes
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // connected sockets need no name
	levers, err := listen(dir, "qmp", "qtest")
	if err != nil {
		return nil, err
	}
	defer levers.close()
	cmd.Args = append(cmd.Args, "-S", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio",
		"-qmp", "unix:"+levers.path("qmp"), "-qtest", "unix:"+levers.path("qtest"), "-qtest-log", "none")
	return start(ctx, cmd, levers, log)
}

func start(ctx context.Context, cmd *exec.Cmd, levers *levers, log io.Writer) (*Machine, error) {
	keyboard, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	m := &Machine{Console: newConsole(keyboard, log)}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = m.Console, log, time.Second // helpers of QEMU may hold its output
	if m.qemu, err = child.Start(cmd); err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	if err := m.connect(ctx, levers); err != nil {
		m.Kill()
		return nil, err
	}
	return m, nil
}

func (m *Machine) connect(ctx context.Context, l *levers) error {
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

// Kill ends the machine at once: the other half of a power cut, of which the
// disk is the first.
func (m *Machine) Kill() { m.qemu.Kill() }

// Gone is closed when the machine has ended.
func (m *Machine) Gone() <-chan struct{} { return m.qemu.Done() }

// levers are the sockets that QEMU connects to. QEMU is the client, so that
// nothing has to be tried again until it listens.
type levers struct {
	dir     string
	sockets map[string]*net.UnixListener
}

func listen(dir string, names ...string) (*levers, error) {
	l := &levers{dir, map[string]*net.UnixListener{}}
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

func (l *levers) path(name string) string { return filepath.Join(l.dir, name) }

func (l *levers) close() {
	for _, s := range l.sockets {
		s.Close()
	}
}

const connects = 20 * time.Second // a QEMU that is going to connect has done so by then

// accept waits for QEMU to take hold of a lever, or to end, or for ctx.
func (l *levers) accept(ctx context.Context, name string, qemu *child.Process) (net.Conn, error) {
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
