package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A mosquitto is a real broker on loopback. It is stopped in order alone: one that
// is killed loses what it acknowledged, and that is not the agents' fault.
type mosquitto struct {
	addr, config string
	cmd          *exec.Cmd
}

func startBroker(dir string) (*mosquitto, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	m := &mosquitto{addr: addr, config: filepath.Join(dir, "mosquitto.conf")}
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nuser root\n", port, dir)
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return m, m.start()
}

func (m *mosquitto) start() error {
	m.cmd = exec.Command("mosquitto", "-c", m.config)
	if err := m.cmd.Start(); err != nil {
		return err
	}
	for range 200 {
		if c, err := net.Dial("tcp", m.addr); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("mosquitto does not listen on %s", m.addr)
}

func (m *mosquitto) stop() {
	m.cmd.Process.Signal(syscall.SIGTERM)
	m.cmd.Wait()
}
