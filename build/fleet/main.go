// Fleet runs a broker, a recorder and simulated nodes on this machine, until Ctrl-C:
//
//	go run ./build/fleet [-nodes 50] [-page HOST:PORT] [-dir FOLDER] [-for 1m]
//
// Then it stops the nodes, waits until the recorder has everything, and verifies each node.
// The exit status is 0 if every gap is explained. Mosquitto has to be installed. Everything
// listens on loopback only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
)

func main() {
	nodes := flag.Int("nodes", 50, "how many agents")
	page := flag.String("page", "127.0.0.1:8081", "`address` of the recorder's page")
	dir := flag.String("dir", "", "`folder` of all files, which is kept; else a temporary one, which is deleted")
	length := flag.Duration("for", 0, "end after this `time`; 0: at Ctrl-C")
	flag.Parse()
	// The first Ctrl-C starts an orderly stop, the second one ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := run(ctx, *nodes, *page, *dir, *length); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// A fleet is the set of processes. All of them end with this process, however it ends.
type fleet struct {
	dir      string
	page     string // where the recorder's page listens
	broker   *mosquitto.Broker
	recorder *exec.Cmd
	nodes    []*exec.Cmd
}

func run(ctx context.Context, nodes int, page, dir string, length time.Duration) (err error) {
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil { // the configuration requires it
			return err
		}
	}
	f := &fleet{dir: dir, page: page}
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "fleet-"); err != nil {
			return err
		}
		defer os.RemoveAll(f.dir)
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := f.build(ctx); err != nil {
		return err
	}
	// The broker stores what the recorder has not acknowledged, and what it queues.
	if f.broker, err = mosquitto.Start(f.dir, "persistence true\nautosave_interval 1\n"+
		"max_queued_messages 1000000\npersistence_location "+f.dir+"/\n"); err != nil {
		return err
	}
	defer f.broker.Stop()
	defer f.stop()
	if err := f.start(nodes); err != nil {
		return err
	}
	fmt.Printf("%d nodes publish to %s; the recorder's page is http://%s/; or ask it:\n\n"+
		"  %s devices -c %[5]s\n  %[4]s verify node-1 -c %[5]s\n\n",
		nodes, f.broker.Addr, f.page, f.path("holdfast-recorder"), f.path("recorder.yaml"))
	// Without a length only Ctrl-C ends it: nothing is ever sent on this channel.
	end := make(<-chan time.Time)
	if length > 0 {
		end = time.After(length)
	}
	select {
	case <-ctx.Done():
	case <-end:
	}
	return f.verify()
}

// path is the name of a file of the fleet.
func (f *fleet) path(name string) string { return filepath.Join(f.dir, name) }

// build builds both programs from the tree.
func (f *fleet) build(ctx context.Context) error {
	for _, command := range [][]string{
		{"build/agent", f.path("holdfast")},
		{"go", "build", "-o", f.path("holdfast-recorder"), "./cmd/recorder"},
	} {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}

// start starts the recorder, so that it has a session before the first reading, and then
// the nodes.
func (f *fleet) start(nodes int) (err error) {
	text := fmt.Sprintf("client_id: recorder-1\nmqtt: {server: \"mqtt://%s\"}\n"+
		"database: \"sqlite:%s\"\nstatus: {listen: %q}\n",
		f.broker.Addr, f.path("history.db"), f.page)
	if f.recorder, err = f.program("holdfast-recorder", "recorder.yaml", text); err != nil {
		return err
	}
	if err := f.connected(); err != nil {
		return err
	}
	for i := range nodes {
		name := fmt.Sprintf("node-%d", i+1)
		text := fmt.Sprintf(`client_id: %s
mqtt: {server: "mqtt://%s"}
queue: {path: %q}
sensors:
  humidity: {kind: simulated, wave: {quantity: humidity, unit: "%%", mean: 45, swing: 10, period: 1h}, every: 1s}
  door: {kind: simulated, steps: {states: [closed, open], every: 7s}, class: door, alarm: true}
  counter: {kind: simulated, counter: {}, every: 200ms}
`, name, f.broker.Addr, f.path(name+"/queue.db"))
		node, err := f.program("holdfast", name+".yaml", text)
		if err != nil {
			return err
		}
		f.nodes = append(f.nodes, node)
	}
	return nil
}

// program writes a configuration and runs a program with it. The log is in the same folder.
func (f *fleet) program(binary, conf, text string) (*exec.Cmd, error) {
	if err := os.WriteFile(f.path(conf), []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(f.path(strings.TrimSuffix(conf, ".yaml") + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(f.path(binary), "run", "-c", f.path(conf))
	cmd.Stderr = log
	// A separate process group: Ctrl-C must reach only this process, which stops the others in
	// order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd, cmd.Start()
}

// connected waits until the recorder's log reports the connection.
func (f *fleet) connected() error {
	for range 600 {
		if text, err := os.ReadFile(f.path("recorder.log")); err == nil && strings.Contains(string(text), "msg=connected") {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("the recorder does not connect: see " + f.path("recorder.log"))
}

// verify stops the nodes, waits until the recorder has their "offline", which is their last
// message, and verifies each of them.
func (f *fleet) verify() error {
	f.stopNodes()
	var list string
	for range 100 {
		if out, err := f.ask("devices"); err != nil {
			return fmt.Errorf("devices: %w: %s", err, out)
		} else if list = out; !strings.Contains(list, "  online  ") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	var failed error
	if strings.Contains(list, "  online  ") {
		failed = fmt.Errorf("nodes are still online after 10 s: see %s", f.path("recorder.log"))
	}
	for i := range f.nodes {
		name := fmt.Sprintf("node-%d", i+1)
		if out, err := f.ask("verify", name); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w: %s", name, err, out))
		}
	}
	fmt.Print(list)
	return failed
}

// ask runs a command of the recorder, and returns what it prints.
func (f *fleet) ask(args ...string) (string, error) {
	out, err := exec.Command(f.path("holdfast-recorder"), append(args, "-c", f.path("recorder.yaml"))...).CombinedOutput()
	return string(out), err
}

// stopNodes stops all nodes with SIGTERM at the same time.
func (f *fleet) stopNodes() {
	for _, n := range f.nodes {
		n.Process.Signal(syscall.SIGTERM)
	}
	for _, n := range f.nodes {
		n.Wait() // an error of a second call is ignored
	}
}

// stop stops everything except the broker.
func (f *fleet) stop() {
	f.stopNodes()
	if f.recorder != nil {
		f.recorder.Process.Signal(syscall.SIGTERM)
		f.recorder.Wait()
	}
}
