package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A worker is the process of a peer, and the processes that it has started.
type worker struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
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

// opened waits until the peer has opened its files and processes.
func (w *worker) opened(ctx context.Context) error {
	_, err := w.says(ctx, "opened ")
	return err
}

// begin makes the peer accept readings.
func (w *worker) begin() error {
	_, err := w.in.Write([]byte("\n"))
	return err
}

// accepted waits until the peer has accepted all readings, and returns the time that it
// needed.
func (w *worker) accepted(ctx context.Context) (took time.Duration, err error) {
	ns, err := w.says(ctx, "accepted ")
	return time.Duration(ns), err
}

// says waits for a line with a word from the worker, and returns the number after the word.
// It records the processes that the worker has started.
func (w *worker) says(ctx context.Context, word string) (int64, error) {
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
		if text, ok := strings.CutPrefix(w.out.Text(), word); ok {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return 0, fmt.Errorf("the worker ended: %w", w.cmd.Wait())
}

func (w *worker) kill() {
	for _, pid := range w.pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	w.cmd.Wait()
	time.Sleep(100 * time.Millisecond) // for its child processes, which init has to reap
}

// end stops the worker with SIGTERM, and limits the time for that.
func (w *worker) end() {
	w.in.Close()
	timer := time.AfterFunc(10*time.Second, w.kill)
	defer timer.Stop()
	for w.out.Scan() { // so that its output does not block
	}
	w.cmd.Wait()
}

// busy is the CPU time of all threads (schedstat: ns on a processor).
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
