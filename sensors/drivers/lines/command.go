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

// A command is a running program with its own process group, so that one signal ends it and all
// processes that it started. Only one goroutine at a time may use it.
type command struct {
	cmd        *exec.Cmd
	out        *os.File // its standard output
	stderrPipe *os.File // its standard error
	guard      guard
	stderr     []byte // the last maxStderr bytes of its standard error
	reaped     bool   // Wait was called: its PID may belong to another process
}

const (
	maxStderr = 512             // bytes: enough for the last line of a trace
	termGrace = 2 * time.Second // from SIGTERM to SIGKILL
	killGrace = 2 * time.Second // from SIGKILL until we stop waiting: the process hangs in the kernel

	// pollEvery is the interval of checks whether the program has ended. The end of its output
	// does not show it, while a child process has the output open.
	pollEvery = 10 * time.Millisecond
)

// startCommand starts a program. The program does not get the agent's secrets, nor its connection
// to systemd. in is its standard input; nil: none.
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
	// a process group of its own, whose id is the program's PID
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	// Close our copies of the program's ends, or the readers would never get an end of file.
	outEnd.Close()
	saidEnd.Close()
	if err != nil {
		return nil, errors.Join(err, out.Close(), said.Close(), guard.readEnd.Close(), guard.Close())
	}
	c := &command{cmd: cmd, out: out, stderrPipe: said, guard: guard}
	if err := guard.arm(cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// childEnv returns the environment without the agent's own settings and credentials, and without
// the socket of systemd's notifications.
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

// name returns the name of the program, for a message.
func (c *command) name() string { return filepath.Base(c.cmd.Path) }

// lines implements [source].
func (c *command) lines() *os.File { return c.out }

// checkAlive handles a program that has ended while a child process holds its output open: it ends
// the whole group, so that the output reaches its end, unless a process has left the group. It
// also empties the pipe of standard error.
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

// waitEnded waits for the program to end after its output has ended, and returns why. A program
// that closed its output and goes on is an error.
func (c *command) waitEnded(ctx context.Context) error {
	if !c.await(ctx, termGrace) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s closed its output and went on", c.name())
	}
	return c.status()
}

// status returns how a program ended that should keep running: even status 0 is an error.
func (c *command) status() error {
	if err := c.failure(); err != nil {
		return err
	}
	return c.errorWithStderr("ended (status 0), and has to go on")
}

// failure returns how the program ended, with the last line of its standard error; nil if it
// ended with status 0.
func (c *command) failure() error {
	c.drainStderr()
	if err := c.end(); err != nil {
		return err
	}
	switch w := c.cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case w.Signaled():
		return c.errorWithStderr("was ended by signal: " + w.Signal().String())
	case w.ExitStatus() != 0:
		return c.errorWithStderr(fmt.Sprintf("ended with status %d", w.ExitStatus()))
	}
	return nil
}

// errorWithStderr returns an error of the program with the last line of its standard error.
func (c *command) errorWithStderr(how string) error {
	if last := c.lastStderrLine(); last != "" {
		how += ": " + last
	}
	return fmt.Errorf("%s %s", c.name(), how)
}

// drainStderr reads what is in the pipe of standard error, without waiting, and keeps the last
// maxStderr bytes.
func (c *command) drainStderr() {
	drain(c.stderrPipe, func(b []byte) {
		c.stderr = append(c.stderr, b...)
		c.stderr = append(c.stderr[:0], c.stderr[max(0, len(c.stderr)-maxStderr):]...)
	})
}

// drain reads what is in both pipes, without waiting: the program would block when a pipe is full.
func (c *command) drain() {
	drain(c.out, func([]byte) {})
	c.drainStderr()
}

// drain reads what is in a pipe, without waiting, and passes it to take.
func drain(pipe *os.File, take func([]byte)) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return // closed
	}
	var buf [4096]byte
	for range 64 { // at most 256 KiB per call: the program may write without end
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf[:]) // -1: the pipe is empty
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		take(buf[:n])
	}
}

// lastStderrLine returns the last line of standard error that is not empty, at most 160 bytes of
// it. Control characters are escaped, because it may be printed on a terminal.
func (c *command) lastStderrLine() string {
	text := bytes.TrimSpace(c.stderr)
	line := string(text[bytes.LastIndexByte(text, '\n')+1:])
	return strings.TrimSpace(host.PrintableN(line[max(0, len(line)-160):], 160))
}

// exited reports whether the program has ended. It does not reap the process, so that the PID
// cannot be reused yet.
func (c *command) exited() bool {
	if c.reaped {
		return true
	}
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo == int32(syscall.SIGCHLD)
}

// await waits for the program to end, and reports whether it has.
func (c *command) await(ctx context.Context, d time.Duration) bool {
	for end := time.Now().Add(d); !c.exited(); {
		if time.Now().After(end) || host.Sleep(ctx, pollEvery) != nil {
			return false
		}
		c.drainStderr() // or the program would block on a full pipe
	}
	return true
}

// end ends the program with its group, and waits for it: SIGTERM first, SIGKILL after termGrace.
func (c *command) end() error {
	if c.reaped {
		return nil
	}
	group := -c.cmd.Process.Pid
	// If the program has ended, the processes that it left behind get SIGKILL at once.
	if !c.exited() {
		syscall.Kill(group, syscall.SIGTERM) // it may have ended meanwhile
		c.await(context.Background(), termGrace)
	}
	// The program is not reaped yet, so the ids of process and group cannot have been reused.
	syscall.Kill(group, syscall.SIGKILL)
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

// Close ends the program with its group, and waits at most four seconds.
func (c *command) Close() error {
	return errors.Join(c.end(), c.out.Close(), c.stderrPipe.Close(), c.guard.Close())
}
