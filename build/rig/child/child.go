// Package child runs a program that ends when its parent ends in any way.
package child

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// A Process is a running program.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts the command.
//
// The kernel sends a parent-death signal when the thread that started the child ends
// (prctl(2), PR_SET_PDEATHSIG), and Go ends idle threads. So the goroutine that waits for
// the child locks its thread.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is the result of the program. It may be called once Done is closed.
func (p *Process) Err() error { return p.err }

// PID is the process ID, which remains after the program has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill kills the program and waits until it has ended.
func (p *Process) Kill() {
	p.cmd.Process.Kill() // fails only if it has ended already
	<-p.done
}

// Stop sends SIGTERM and waits until the program has ended. After the grace period it kills
// the program and returns false.
func (p *Process) Stop(grace time.Duration) bool {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return true
	case <-time.After(grace):
		p.Kill()
		return false
	}
}
