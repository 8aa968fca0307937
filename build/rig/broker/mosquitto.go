// Package broker runs a real broker for a test and records the messages that arrive at a
// subscriber.
package broker

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/child"
)

// A Mosquitto is a running broker on the loopback interface.
type Mosquitto struct {
	Address string // "127.0.0.1:port"
	process *child.Process
}

// settings: the queue of a subscriber has no limit, so a missing message was lost before
// the broker. As root Mosquitto would switch to its own user, which may not write to the
// folder.
const settings = `listener %d 127.0.0.1
allow_anonymous true
user %s
persistence true
persistence_location %s/
max_queued_messages 0
log_dest stderr
log_type all
`

// Start starts Mosquitto with a folder for its files, on a free port, and waits until it
// listens. Its log goes to log.
func Start(ctx context.Context, folder string, log io.Writer) (*Mosquitto, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "mosquitto.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, settings, port, me.Username, folder), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program(), "-c", file)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := child.Start(cmd)
	if err != nil {
		return nil, fmt.Errorf("start mosquitto: %w", err)
	}
	m := &Mosquitto{fmt.Sprintf("127.0.0.1:%d", port), p}
	if err := m.listens(ctx); err != nil {
		m.Kill()
		return nil, err
	}
	return m, nil
}

// Kill kills the broker.
func (m *Mosquitto) Kill() { m.process.Kill() }

// program is the path of Mosquitto: Debian has it in /usr/sbin, which is not in the path of
// every user.
func program() string {
	const debian = "/usr/sbin/mosquitto"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	return "mosquitto"
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (m *Mosquitto) listens(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", m.Address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-m.process.Done():
			return fmt.Errorf("mosquitto ended: %w", m.process.Err())
		case <-ctx.Done():
			return fmt.Errorf("mosquitto does not listen: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
