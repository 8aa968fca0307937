package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// A way is one kind of outage.
type way struct {
	name       string // the start of the agents' client IDs
	server     string // host:port as the agents see it
	space      string // the network namespace of the agents; empty: the present one
	broker     *mosquitto.Broker
	take, give func() error
}

const config = `client_id: %s
mqtt: {server: "mqtt://%s"}
queue: {path: %q}
sensors:
  room: {kind: simulated, wave: {quantity: temperature, unit: "°C", mean: 20, swing: 5, period: 1m}, every: %v}
`

// start starts an agent that reads ten times a second.
func (w *way) start(binary, dir, id string) (stop func(), err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(config, id, w.server, filepath.Join(dir, "queue.db"), readEvery)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	args := []string{binary, "run", "-c", file}
	if w.space != "" {
		args = append([]string{"ip", "netns", "exec", w.space}, args...)
	}
	c := exec.Command(args[0], args[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() { c.Process.Signal(syscall.SIGTERM); c.Wait() }, nil
}

// allWays creates all connections to a broker. The caller has to call end, even after an
// error.
func allWays(dir string, shared *mosquitto.Broker) (ways []*way, end func(), err error) {
	var ends []func()
	end = func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
	}
	own := filepath.Join(dir, "stopped")
	if err := os.Mkdir(own, 0o700); err != nil {
		return nil, end, err
	}
	b, err := mosquitto.Start(own, "")
	if err != nil {
		return nil, end, err
	}
	ends = append(ends, func() { b.Stop() })
	ways = append(ways, &way{name: "stopped", server: b.Addr, broker: b,
		take: func() error { b.Stop(); return nil }, give: b.Run})

	wire, err := cable.New(shared.Addr, nil, cable.Link{})
	if err != nil {
		return nil, end, err
	}
	ends = append(ends, func() { wire.Close() })
	ways = append(ways, &way{name: "closed", server: wire.Addr(), broker: shared,
		take: func() error { wire.Pull(); return nil }, give: func() error { wire.Plug(); return nil }})

	for i, name := range []string{"down", "carrier", "far"} {
		l, err := layLink(i, shared.Addr)
		ends = append(ends, l.close)
		if err != nil {
			return nil, end, err
		}
		w := &way{name: name, server: l.server(), space: l.space, broker: shared}
		switch name {
		case "down": // the agents' own interface
			w.take, w.give = l.ip("-n", l.space, "link", "set", l.near, "down"), l.ip("-n", l.space, "link", "set",
				l.near, "up")
		case "carrier": // the other end of the veth pair
			w.take, w.give = l.ip("link", "set", l.far, "down"), l.ip("link", "set", l.far, "up")
		case "far": // the broker's address does not answer
			address := l.prefix + "1/24"
			w.take, w.give = l.ip("addr", "del", address, "dev", l.far), l.ip("addr", "add", address, "dev", l.far)
		}
		ways = append(ways, w)
	}
	return ways, end, nil
}

// A link connects a network namespace to a broker.
type link struct {
	space, near, far string // names of the namespace and of both interfaces
	prefix           string // of the addresses
	relay            net.Listener
}

func layLink(i int, broker string) (l *link, err error) {
	id := fmt.Sprint(os.Getpid()%10000, "-", i)
	l = &link{space: "hfback" + id, near: "hfn" + id, far: "hff" + id, prefix: fmt.Sprintf("10.213.%d.", i)}
	for _, do := range []func() error{
		l.ip("netns", "add", l.space),
		l.ip("link", "add", l.far, "type", "veth", "peer", "name", l.near, "netns", l.space),
		l.ip("addr", "add", l.prefix+"1/24", "dev", l.far),
		l.ip("link", "set", l.far, "up"),
		l.ip("-n", l.space, "addr", "add", l.prefix+"2/24", "dev", l.near),
		l.ip("-n", l.space, "link", "set", l.near, "up"),
	} {
		if err := do(); err != nil {
			return l, err
		}
	}
	l.relay, err = net.Listen("tcp", l.prefix+"1:0")
	if err != nil {
		return l, err
	}
	go l.forward(broker)
	return l, nil
}

// forward forwards connections to the broker until the relay is closed.
func (l *link) forward(broker string) {
	for {
		near, err := l.relay.Accept()
		if err != nil {
			return
		}
		go func() {
			defer near.Close()
			far, err := net.Dial("tcp", broker)
			if err != nil {
				return
			}
			defer far.Close()
			go func() { io.Copy(near, far); near.Close() }()
			io.Copy(far, near)
		}()
	}
}

func (l *link) server() string { return l.relay.Addr().String() }

func (l *link) close() {
	if l.relay != nil {
		l.relay.Close()
	}
	err := errors.Join(l.ip("link", "del", l.far)(), l.ip("netns", "del", l.space)())
	if err != nil {
		fmt.Fprintln(os.Stderr, "back:", err)
	}
}

func (l *link) ip(args ...string) func() error { return command("ip", args...) }

func command(name string, args ...string) func() error {
	return func() error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
		}
		return nil
	}
}
