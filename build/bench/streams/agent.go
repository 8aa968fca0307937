package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/build/bench/work"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
	"github.com/holdfast-iot/holdfast/queue"
)

const clientID = "many"

// warmUp is the time after the start of an agent that is not measured, because it parses
// its configuration and connects.
const warmUp = 15 * time.Second

// load is the configuration of an agent.
type load struct {
	streams int
	every   time.Duration // between two readings of a stream
	rate    string        // drain.rate
}

// measure runs an agent without an outage, during an outage, and while it drains. The error
// tells which readings are missing.
func (l load) measure(ctx context.Context, binary, parent string, t times) (f figures, err error) {
	dir, err := os.MkdirTemp(parent, "agent")
	if err != nil {
		return f, err
	}
	b, err := mosquitto.Start(dir, mosquitto.Unbounded)
	if err != nil {
		return f, err
	}
	defer b.Stop()
	wire, err := cable.New(b.Addr, nil, cable.Link{})
	if err != nil {
		return f, err
	}
	defer wire.Close()
	got, err := subscribe(b.Addr)
	if err != nil {
		return f, err
	}
	defer got.close()
	a, err := l.start(binary, dir, wire.Addr())
	if err != nil {
		return f, err
	}
	defer a.Wait()
	defer a.Process.Signal(syscall.SIGTERM)

	f.streams = l.streams
	if f.core, f.memory, err = calm(ctx, a.Process.Pid, t.calm); err != nil {
		return f, err
	}
	wire.Pull()
	sleep(ctx, t.away)
	if f.atRest, err = atRest(dir); err != nil {
		return f, err
	}
	wire.Plug()
	sleep(ctx, t.after)
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	f.arrived, f.twice, f.drained, err = got.all(l, t)
	return f, err
}

// start starts the agent. It ends with this process.
func (l load) start(binary, dir, server string) (*exec.Cmd, error) {
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(l.text(server, dir)), 0o600); err != nil {
		return nil, err
	}
	c := exec.Command(binary, "run", "-c", config)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return c, c.Start()
}

// calm is the cost of a process without an outage: CPU usage of a core, and memory at the
// end.
func calm(ctx context.Context, pid int, d time.Duration) (core float64, memory int64, err error) {
	sleep(ctx, warmUp)
	before, err := cpuTime(pid)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	sleep(ctx, d)
	after, err := cpuTime(pid)
	if err != nil {
		return 0, 0, err
	}
	core = float64(after-before) / float64(time.Since(began))
	memory, err = anonymous(pid)
	return core, memory, err
}

// cpuTime is the CPU time of all threads of a process, as the scheduler counts it.
func cpuTime(pid int) (total time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0, err
		}
		ns, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n)
	}
	return total, nil
}

// anonymous is the anonymous memory of a process, which the kernel cannot drop and read
// again.
func anonymous(pid int) (bytes int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("no RssAnon")
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10, err
}

// atRest is the bytes per reading of the pages in use of an agent's file. It reads a copy,
// and makes another copy if there was a commit meanwhile.
func atRest(dir string) (bytes float64, err error) {
	copied := filepath.Join(dir, "copy.db")
	for range 5 {
		if err = copyFile(filepath.Join(dir, "queue.db"), copied); err != nil {
			return 0, err
		}
		readings := 0
		if _, err = queue.Inspect(copied, func(queue.Item) error { readings++; return nil }); err != nil {
			continue
		}
		var pages int64
		if pages, err = work.PagesInUse(copied); err == nil {
			return float64(pages) / float64(max(readings, 1)), nil
		}
	}
	return 0, err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
