package lines

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A guard has the kernel end a process group when the agent ends, however it ends,
// also by SIGKILL. It is a pipe on which nothing is ever written: the agent alone
// has the end to write, and the group inherits the end to read, whose owner is the
// group and whose signal is SIGKILL (fcntl(2), F_SETOWN and F_SETSIG). When the
// agent's end closes, the kernel signals the whole group.
//
// PR_SET_PDEATHSIG would end the program alone and not what it started, and comes
// when the thread that started it ends, which is not the agent. What leaves the
// group (setsid) is out of reach, and so is a group in which everything closes the
// files that it inherits.
type guard struct {
	// the end to write
	agents *os.File // never written to; closed when the agent ends
	// the end to read; ours is closed once the group has inherited it
	groups *os.File
}

// guardFD is the number that the group has its end under: none that a shell uses.
const guardFD = 99

// newGuard makes the pipe. The group's end is closed by watch, once the group has it.
func newGuard() (guard, error) {
	groups, agents, err := os.Pipe()
	return guard{agents, groups}, err
}

// files are what a program inherits besides its standard files.
func (g guard) files() []*os.File {
	// The files between are nil: a program has them closed (exec.Cmd.ExtraFiles).
	files := make([]*os.File, guardFD-2)
	files[len(files)-1] = g.groups
	return files
}

// watch gives the end to read to a group that has inherited it.
func (g guard) watch(group int) error {
	fd := g.groups.Fd()
	// The owner and the signal are set before O_ASYNC arms them.
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	for _, set := range [][2]int{{unix.F_SETOWN, -group}, {unix.F_SETSIG, int(syscall.SIGKILL)},
		{unix.F_SETFL, flags | unix.O_ASYNC}} {
		if err == nil {
			_, err = unix.FcntlInt(fd, set[0], set[1])
		}
	}
	if err = errors.Join(err, g.groups.Close()); err != nil {
		return fmt.Errorf("watch over a command: %w", err)
	}
	return nil
}

// Close ends what is left of the group.
func (g guard) Close() error { return g.agents.Close() }
