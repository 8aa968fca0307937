package lines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"golang.org/x/sys/unix"
)

// A command is a program that is kept running, in a process group of its own with
// all that it starts, so that one signal ends them all. It is for one goroutine at a
// time.
type command struct {
	cmd        *exec.Cmd
	out        *os.File // its standard output
	stderrPipe *os.File // and its standard error
	guard      guard
	stderr     []byte // the last that it wrote there, at most maxStderr bytes
	reaped     bool   // it has been waited for: its number may be another's by now
}

const (
	maxStderr = 512             // bytes: enough for the last line of a trace
	termGrace = 2 * time.Second // from SIGTERM to SIGKILL
	killGrace = 2 * time.Second // from SIGKILL to giving up: it hangs in the kernel

	// pollEvery is the time between two looks whether the program has ended. A read of
	// its output does not learn that while a child of it has the output open.
	pollEvery = 10 * time.Millisecond
)

// startCommand starts a program without what is the agent's own: its secrets and
// its talk with systemd. in is its standard input; nil: it has none.
func startCommand(args []string, in *os.File) (*command, error) {
	out, outEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	said, saidEnd, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, out.Close(), outEnd.Close())
	}
	guard, err := newGuard()
	if err != nil {
		return nil, errors.Join(err, out.Close(), outEnd.Close(), said.Close(), saidEnd.Close())
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = outEnd, saidEnd
	if in != nil { // a nil *os.File in an io.Reader is not nil
		cmd.Stdin = in
	}
	cmd.ExtraFiles = guard.files()
	cmd.Env = childEnv(os.Environ())
	// a group of its own, named by the program's number: it is signalled as a whole
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	// Only the program may hold these ends now, or their readers would never see an end.
	outEnd.Close() // the program has its own; nothing was written here
	saidEnd.Close()
	if err != nil {
		return nil, errors.Join(err, out.Close(), said.Close(), guard.groups.Close(), guard.Close())
	}
	c := &command{cmd: cmd, out: out, stderrPipe: said, guard: guard}
	if err := guard.watch(cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// childEnv is the environment without what only the agent may have: its own settings and
// credentials, and the socket through which it talks to systemd.
func childEnv(ours []string) (theirs []string) {
	for _, v := range ours {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "HOLDFAST_") || strings.HasPrefix(name, "WATCHDOG_") ||
			name == "CREDENTIALS_DIRECTORY" || name == "NOTIFY_SOCKET" {
			continue
		}
		theirs = append(theirs, v)
	}
	return theirs
}

// name is the program's, for a message.
func (c *command) name() string { return filepath.Base(c.cmd.Path) }

// lines implements [source].
func (c *command) lines() *os.File { return c.out }

// checkAlive finds a program that has ended while something that it started holds its
// output open, and keeps its standard error flowing. What it started is ended
// first: then the output ends after what is still in it, unless something
// has left the group.
func (c *command) checkAlive() error {
	c.drainStderr()
	switch {
	case c.reaped:
		return c.status()
	case c.exited():
		return c.end()
	}
	return nil
}

// ended waits for the program to end after its output has; one that goes on
// without is ended.
func (c *command) ended(ctx context.Context) error {
	if !c.await(ctx, termGrace) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s closed its output and went on", c.name())
	}
	return c.status()
}

// status is how a program ended that is to be kept running: one that ends without a fault is
// a fault all the same.
func (c *command) status() error {
	if err := c.failure(); err != nil {
		return err
	}
	return c.says("ended (status 0), and has to go on")
}

// failure is how the program ended, with the last line of its standard error; nil if it ended
// with status 0.
func (c *command) failure() error {
	c.drainStderr()
	if err := c.end(); err != nil {
		return err
	}
	switch w := c.cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case w.Signaled():
		return c.says("was ended by signal: " + w.Signal().String())
	case w.ExitStatus() != 0:
		return c.says(fmt.Sprintf("ended with status %d", w.ExitStatus()))
	}
	return nil
}

// says is an error of the program with the last line of its standard error.
func (c *command) says(how string) error {
	if last := c.lastStderrLine(); last != "" {
		how += ": " + last
	}
	return fmt.Errorf("%s %s", c.name(), how)
}

// drainStderr takes what is in the pipe of standard error, without waiting, and keeps
// the end of it.
func (c *command) drainStderr() {
	drain(c.stderrPipe, func(b []byte) {
		c.stderr = append(c.stderr, b...)
		c.stderr = append(c.stderr[:0], c.stderr[max(0, len(c.stderr)-maxStderr):]...)
	})
}

// drain takes what is in both pipes, without waiting: a program whose output nobody reads
// would hang when a pipe is full.
func (c *command) drain() {
	drain(c.out, func([]byte) {})
	c.drainStderr()
}

// drain takes what is in a pipe, without waiting.
func drain(pipe *os.File, take func([]byte)) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return // closed
	}
	var buf [4096]byte
	for range 64 { // no more than what a pipe holds, 64 KiB, at once: there may be no end
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf[:]) // -1: nothing there
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		take(buf[:n])
	}
}

// lastStderrLine is the last line of standard error that is not empty, shortened. It is
// printable: it ends up in a terminal.
func (c *command) lastStderrLine() string {
	text := bytes.TrimSpace(c.stderr)
	line := string(text[bytes.LastIndexByte(text, '\n')+1:])
	return strings.TrimSpace(host.PrintableN(line[max(0, len(line)-160):], 160))
}

// exited reports whether the program has ended; it stays to be waited for, so
// that its number is not another's.
func (c *command) exited() bool {
	if c.reaped {
		return true
	}
	var info unix.Siginfo
	// WNOWAIT leaves it to be waited for.
	err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo == int32(syscall.SIGCHLD)
}

// await waits for the program to end, and reports whether it has.
func (c *command) await(ctx context.Context, d time.Duration) bool {
	for end := time.Now().Add(d); !c.exited(); {
		if time.Now().After(end) || host.Sleep(ctx, pollEvery) != nil {
			return false
		}
		c.drainStderr() // it may have much to say before it goes
	}
	return true
}

// end ends the program with all of its group, politely first, and waits for it.
func (c *command) end() error {
	if c.reaped {
		return nil
	}
	group := -c.cmd.Process.Pid
	// SIGTERM goes to a program that runs alone: of one that has ended, what it left
	// behind gets SIGKILL.
	if !c.exited() {
		syscall.Kill(group, syscall.SIGTERM) // it may have ended meanwhile
		c.await(context.Background(), termGrace)
	}
	// The program is still to be waited for, so that its number, and the group's, is
	// nobody else's.
	syscall.Kill(group, syscall.SIGKILL) // and whatever it leaves behind
	if !c.await(context.Background(), killGrace) {
		return fmt.Errorf("%s does not end: it hangs in the kernel", c.name())
	}
	c.reaped = true
	var status *exec.ExitError
	if err := c.cmd.Wait(); err != nil && !errors.As(err, &status) {
		return err
	}
	return nil
}

// Close ends the program with all of its group, and waits for it at most four seconds.
func (c *command) Close() error {
	return errors.Join(c.end(), c.out.Close(), c.stderrPipe.Close(), c.guard.Close())
}
