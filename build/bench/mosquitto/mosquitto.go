// Package mosquitto starts a real broker on loopback for the benchmarks.
package mosquitto

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A Broker is a Mosquitto that was started for a benchmark.
type Broker struct {
	Addr string
	path string
	conf string
	cmd  *exec.Cmd
}

// Start starts a broker whose files are in dir; extra is added to its configuration. It
// accepts every client.
func Start(dir, extra string) (*Broker, error) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // Debian installs it there; it is only in root's path
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Broker{Addr: l.Addr().String(), path: path, conf: filepath.Join(dir, "mosquitto.conf")}
	l.Close()
	_, port, err := net.SplitHostPort(b.Addr)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("per_listener_settings false\nlistener %s 127.0.0.1\n%sallow_anonymous true\nuser "+
		"root\nlog_dest none\n", port, extra)
	if err := os.WriteFile(b.conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return b, b.Run()
}

// Unbounded is for Start: the broker queues for subscribers without a limit.
const Unbounded = "max_queued_messages 0\n"

// Run starts the broker again, and returns when it listens.
func (b *Broker) Run() error {
	b.cmd = exec.Command(b.path, "-c", b.conf)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	for range 500 {
		if c, err := net.Dial("tcp", b.Addr); err == nil {
			return c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Stop()
	return fmt.Errorf("mosquitto does not listen on %s (%s)", b.Addr, b.conf)
}

// Stop stops the broker with SIGTERM.
func (b *Broker) Stop() {
	b.cmd.Process.Signal(syscall.SIGTERM)
	b.cmd.Wait()
}
