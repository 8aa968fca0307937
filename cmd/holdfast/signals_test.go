package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/child"
)

// endsBy sends a signal and waits for the end of a process. It returns how the process
// ended. There is no time limit for a loaded machine, except that of the test.
func endsBy(t *testing.T, cmd *exec.Cmd, sig syscall.Signal) (status int, killed syscall.Signal) {
	t.Helper()
	cmd.Process.Signal(sig)
	late := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	how := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if how.Signaled() {
		return -1, how.Signal()
	}
	return how.ExitStatus(), 0
}

// program is a process of holdfast with arguments.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), agentEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd
}

// openPipe opens a named pipe for writing, which blocks until it is read.
func openPipe(t *testing.T, name string) {
	t.Helper()
	w, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
}

func makePipe(t *testing.T, name string) string {
	t.Helper()
	os.Remove(name)
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSignalsInterruptReadingTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		sig  syscall.Signal
		want int // -1: by the signal
	}{
		{"run -c", syscall.SIGTERM, 0},
		{"run -c", syscall.SIGINT, 0},
		{"check -c", syscall.SIGINT, -1},
		{"read -c", syscall.SIGTERM, 1},
		{"ha -c PIPE show", syscall.SIGINT, 1},
		{"queue stats -c", syscall.SIGTERM, -1},
	} {
		for _, from := range []string{"a pipe", "standard input"} {
			t.Run(fmt.Sprint(c.args, " ", from, " ", c.sig), func(t *testing.T) {
				t.Parallel()
				name := "-"
				if from == "a pipe" {
					name = makePipe(t, filepath.Join(t.TempDir(), "pipe"))
				}
				args := strings.Fields(strings.Replace(c.args+" PIPE", "-c PIPE show PIPE", "-c PIPE show", 1))
				for i := range args {
					args[i] = strings.Replace(args[i], "PIPE", name, 1)
				}
				cmd := program(t, args...)
				in, err := cmd.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if from == "a pipe" {
					openPipe(t, name)
					// so the program is reading it
				} else if _, err := io.WriteString(in,
					strings.Repeat("# more than a pipe holds\n", 10_000)); err != nil {
					t.Fatal(err)
				}
				status, killed := endsBy(t, cmd, c.sig)
				if status != c.want || status < 0 && killed != c.sig {
					t.Errorf("ended with status %d, signal %v; want %d", status, killed, c.want)
				}
			})
		}
	}
}

const lonely = "client_id: porch\nmqtt: {server: \"mqtt://127.0.0.1:1\"%s}\nqueue: {path: %%DIR%%/queue.db}\n" +
	"sensors:\n  load: {kind: simulated, counter: {}, every: 100ms}\n"

// At the start, at a reload and for a connection.
func TestSignalsInterruptReadingAPipe(t *testing.T) {
	t.Parallel()
	for name, hang := range map[string]func(t *testing.T, a *agent){
		"the password at the start": func(t *testing.T, a *agent) {
			makePipe(t, a.dir+"/password")
			a.start()
		},
		"the password of a connection": func(t *testing.T, a *agent) {
			a.start()
			eventually(t, time.Minute, "the agent runs", func() bool {
				return strings.Contains(a.log.String(), "uplink down")
			})
			makePipe(t, a.dir+"/password")
		},
		"the configuration at a reload": func(t *testing.T, a *agent) {
			a.start()
			eventually(t, time.Minute, "the agent runs", func() bool {
				return strings.Contains(a.log.String(), "uplink down")
			})
			makePipe(t, a.dir+"/password")
			makePipe(t, a.configPath())
			a.cmd.Process.Signal(syscall.SIGHUP)
			openPipe(t, a.configPath())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, fmt.Sprintf(lonely, ", password_file: %DIR%/password"))
			if err := os.WriteFile(a.dir+"/password", []byte("s3cret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			hang(t, a)
			openPipe(t, a.dir+"/password")
			a.done = true
			if status, killed := endsBy(t, a.cmd, syscall.SIGTERM); status != 0 {
				t.Errorf("ended with status %d, signal %v", status, killed)
			}
		})
	}
}

// A second Ctrl-C ends the program at once.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := fmt.Sprintf("client_id: porch\nmqtt: {server: \"mqtt://127.0.0.1:1\"}\nqueue: {path: %[1]s/queue.db}\n"+
		"sensors:\n  stubborn: {kind: lines, command: [/bin/sh, -c, \"trap '' TERM; touch %[1]s/runs; while :; do "+
		"sleep 1; "+
		"done\"]}\n", dir)
	if err := os.WriteFile(dir+"/config.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "run", "-c", dir+"/config.yaml")
	var log child.Log
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "the agent and the child run", func() bool {
		_, err := os.Stat(dir + "/runs")
		return err == nil && strings.Contains(log.String(), "uplink down")
	})
	ended := make(chan struct{})
	var pressing sync.WaitGroup
	pressing.Go(func() { // the child delays the orderly end by two seconds
		for {
			select {
			case <-ended:
				return
			case <-time.After(10 * time.Millisecond):
				cmd.Process.Signal(syscall.SIGINT)
			}
		}
	})
	status, killed := endsBy(t, cmd, syscall.SIGINT)
	close(ended)
	pressing.Wait()
	if killed != syscall.SIGINT {
		t.Errorf("ended with status %d, signal %v", status, killed)
	}
}
