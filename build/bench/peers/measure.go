package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/build/bench/peers/wire"
)

// A result is what one peer has shown. What was not measured is zero.
type result struct {
	peer   string
	bytes  float64 // written to the block device for each reading of an outage
	lost   float64 // readings that were accepted and never arrived
	twice  float64 // readings that arrived again
	mixed  float64 // readings that arrived after a later one
	accept float64 // readings a second that are taken in
	first  float64 // seconds from the broker's start to the first reading
	rate   float64 // readings a second that arrive
	cpu    float64 // µs of processor time for each reading that arrives
	memory float64 // MB of anonymous memory at the end
}

// medians are those of each figure.
func medians(rounds []result) result {
	m := rounds[0]
	for _, f := range []func(*result) *float64{
		func(r *result) *float64 { return &r.lost }, func(r *result) *float64 { return &r.twice },
		func(r *result) *float64 { return &r.mixed }, func(r *result) *float64 { return &r.accept },
		func(r *result) *float64 { return &r.first }, func(r *result) *float64 { return &r.rate },
		func(r *result) *float64 { return &r.cpu }, func(r *result) *float64 { return &r.memory },
	} {
		var all []float64
		for i := range rounds {
			all = append(all, *f(&rounds[i]))
		}
		slices.Sort(all)
		*f(&m) = all[len(all)/2]
	}
	return m
}

// brokerConfig lets nothing of the broker's own limits be measured.
const brokerConfig = "persistence true\npersistence_location %s/\nmax_queued_messages 0\nmax_inflight_messages 0\n"

// away makes a broker that is stopped, and that knows our subscriber.
func away(dir string) (*mosquitto.Broker, error) {
	home, err := os.MkdirTemp(dir, "broker")
	if err != nil {
		return nil, err
	}
	b, err := mosquitto.Start(home, fmt.Sprintf(brokerConfig, home))
	if err != nil {
		return nil, err
	}
	defer b.Stop()
	c, err := wire.Dial(b.Addr, "subscriber", false)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return b, c.Subscribe()
}

// arrivals is what a subscriber has got.
type arrivals struct {
	mu           sync.Mutex
	seen         map[int]bool
	twice, mixed int
	newest       int
	first, last  time.Time
}

// listen subscribes until the broker ends the connection.
func listen(addr string) (*arrivals, error) {
	c, err := wire.Dial(addr, "subscriber", false)
	if err != nil {
		return nil, err
	}
	a := &arrivals{seen: map[int]bool{}}
	go func() {
		defer c.Close()
		for {
			kind, body, err := c.Read()
			if err != nil {
				return
			}
			if kind != wire.Publish {
				continue
			}
			name, text := c.Acknowledge(body)
			if string(name) == topic {
				a.take(text)
			}
			if !c.Waiting() && c.Out.Flush() != nil {
				return
			}
		}
	}()
	return a, nil
}

// take notes a reading. Each payload has its number as "seq":N.
func (a *arrivals) take(text []byte) {
	_, rest, _ := bytes.Cut(text, []byte(`"seq":`))
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.Atoi(string(rest[:max(end, 0)]))
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		return
	case a.seen[n]:
		a.twice++
		return
	case n < a.newest:
		a.mixed++
	}
	a.seen[n], a.newest, a.last = true, max(a.newest, n), time.Now()
	if a.first.IsZero() {
		a.first = a.last
	}
}

// wait waits until n readings have arrived, or none for some time.
func (a *arrivals) wait(ctx context.Context, n int, patience time.Duration) {
	began := time.Now()
	for ctx.Err() == nil {
		a.mu.Lock()
		got, last := len(a.seen), a.last
		a.mu.Unlock()
		if last.Before(began) {
			last = began
		}
		if got >= n || time.Since(last) > patience {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// patience is for what comes late: peers that wait before they connect again.
const patience = 15 * time.Second

// outage takes readings in while the broker is away, kills the peer with SIGKILL,
// and starts it again with the broker there.
func (p plan) outage(ctx context.Context, dir, name string) (r result, err error) {
	d, err := newDisk(dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	b, err := away(dir)
	if err != nil {
		return r, err
	}
	before, err := d.written()
	if err != nil {
		return r, err
	}
	w, err := start(job{Peer: name, Dir: d.mount, Broker: b.Addr, N: p.slow, From: 1, Rate: p.rate})
	if err != nil {
		return r, err
	}
	_, err = w.accepted(ctx)
	w.kill()
	if err != nil {
		return r, err
	}
	after, err := d.written()
	if err != nil {
		return r, err
	}
	if err := b.Run(); err != nil {
		return r, err
	}
	defer b.Stop()
	a, err := listen(b.Addr)
	if err != nil {
		return r, err
	}
	if w, err = start(job{Peer: name, Dir: d.mount, Broker: b.Addr}); err != nil {
		return r, err
	}
	defer w.end()
	a.wait(ctx, p.slow, patience)
	a.mu.Lock()
	defer a.mu.Unlock()
	return result{peer: name, bytes: float64(after-before) / float64(p.slow), lost: float64(p.slow - len(a.seen)),
		twice: float64(a.twice), mixed: float64(a.mixed)}, ctx.Err()
}

// drain takes a burst in while the broker is away, and watches it go out.
func (p plan) drain(ctx context.Context, dir, name string) (r result, err error) {
	d, err := newDisk(dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	b, err := away(dir)
	if err != nil {
		return r, err
	}
	w, err := start(job{Peer: name, Dir: d.mount, Broker: b.Addr, N: p.burst, From: 1})
	if err != nil {
		return r, err
	}
	defer w.end()
	took, err := w.accepted(ctx)
	if err != nil {
		return r, err
	}
	time.Sleep(6 * time.Second) // what is written later is written
	if err := b.Run(); err != nil {
		return r, err
	}
	defer b.Stop()
	back, busy := time.Now(), w.busy()
	a, err := listen(b.Addr)
	if err != nil {
		return r, err
	}
	a.wait(ctx, p.burst, patience)
	busy, memory := w.busy()-busy, w.anonymous()
	a.mu.Lock()
	defer a.mu.Unlock()
	n := float64(len(a.seen))
	return result{peer: name, accept: float64(p.burst) / took.Seconds(), first: a.first.Sub(back).Seconds(),
		rate: n / a.last.Sub(a.first).Seconds(), cpu: float64(busy.Microseconds()) / max(n, 1), memory: memory,
		lost: float64(p.burst) - n, twice: float64(a.twice), mixed: float64(a.mixed)}, ctx.Err()
}

// A worker is the process of a peer, and those that it has started.
type worker struct {
	cmd  *exec.Cmd
	in   io.Closer
	out  *bufio.Scanner
	pids []int
}

func start(j job) (*worker, error) {
	room, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	j.Room = room.Addr().String()
	room.Close()
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: exec.Command(self)}
	w.cmd.Env = append(os.Environ(), jobEnv+"="+string(text))
	w.cmd.Stderr = os.Stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err1 := w.cmd.StdinPipe()
	out, err2 := w.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, w.cmd.Start()); err != nil {
		return nil, err
	}
	w.in, w.out, w.pids = in, bufio.NewScanner(out), []int{w.cmd.Process.Pid}
	return w, nil
}

// accepted waits until the peer has taken all readings in, and returns how long that
// took it.
func (w *worker) accepted(ctx context.Context) (took time.Duration, err error) {
	stop := context.AfterFunc(ctx, func() { w.cmd.Process.Kill() })
	defer stop()
	for w.out.Scan() {
		if pid, ok := strings.CutPrefix(w.out.Text(), "child "); ok {
			n, err := strconv.Atoi(pid)
			if err != nil {
				return 0, err
			}
			w.pids = append(w.pids, n)
		}
		if ns, ok := strings.CutPrefix(w.out.Text(), "accepted "); ok {
			n, err := strconv.ParseInt(ns, 10, 64)
			return time.Duration(n), err
		}
	}
	return 0, fmt.Errorf("the worker ended: %w", w.cmd.Wait())
}

func (w *worker) kill() {
	for _, pid := range w.pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	w.cmd.Wait()
	time.Sleep(100 * time.Millisecond) // for a child, which is the kernel's to reap
}

// end lets the worker end in order, for some time.
func (w *worker) end() {
	w.in.Close()
	timer := time.AfterFunc(10*time.Second, w.kill)
	defer timer.Stop()
	for w.out.Scan() { // so that it does not block
	}
	w.cmd.Wait()
}

// busy is the processor time of all threads (schedstat: ns on a processor).
func (w *worker) busy() (busy time.Duration) {
	for _, pid := range w.pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // the thread has ended
			}
			ns, _, _ := strings.Cut(string(text), " ")
			n, _ := strconv.ParseInt(ns, 10, 64)
			busy += time.Duration(n)
		}
	}
	return busy
}

// anonymous is RssAnon in MB.
func (w *worker) anonymous() (mb float64) {
	for _, pid := range w.pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
				kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				mb += kib * 1024 / 1e6
			}
		}
	}
	return mb
}
