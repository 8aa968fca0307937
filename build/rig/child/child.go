// Package child runs a program that ends when its parent does, however the
// parent ends.
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
// The kernel sends a parent-death signal when the thread that started the child
// ends (prctl(2), PR_SET_PDEATHSIG), and Go ends idle threads; so the goroutine
// that waits for the child keeps the thread for itself.
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

// Err is how the program ended, once Done is closed.
func (p *Process) Err() error { return p.err }

// PID is the number of the process, also when it has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the program at once and waits until it has gone.
func (p *Process) Kill() {
	p.cmd.Process.Kill() // fails only if it has gone already
	<-p.done
}

// Stop asks the program to end (SIGTERM) and waits until it has. After the
// grace it is killed, and Stop reports false.
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
