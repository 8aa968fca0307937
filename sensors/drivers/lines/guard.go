package lines

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A guard makes the kernel kill a process group when the agent ends in any way, even by SIGKILL.
// It is a pipe to which nothing is written. Only the agent has the write end. The group inherits
// the read end, whose owner is the group and whose signal is SIGKILL (fcntl(2), F_SETOWN and
// F_SETSIG). When the write end is closed, the kernel sends the signal to the group.
//
// PR_SET_PDEATHSIG is no alternative: it kills only the program and not its child processes, and
// does so when the thread that started it ends. The guard does not reach processes that left the
// group (setsid), or a group in which all processes close the inherited file.
type guard struct {
	writeEnd *os.File // never written to; closed when the agent ends
	readEnd  *os.File // arm closes our copy after the group has inherited it
}

// guardFD is the file descriptor of the read end in the group: one that shells do not use.
const guardFD = 99

// newGuard makes the pipe.
func newGuard() (guard, error) {
	groups, agents, err := os.Pipe()
	return guard{agents, groups}, err
}

// files returns the value of exec.Cmd.ExtraFiles.
func (g guard) files() []*os.File {
	// A nil entry is a closed file descriptor in the program.
	files := make([]*os.File, guardFD-2)
	files[len(files)-1] = g.readEnd
	return files
}

// arm makes a process group the owner of the read end, which it has inherited, and closes our copy.
func (g guard) arm(group int) error {
	fd := g.readEnd.Fd()
	// O_ASYNC comes last: it enables the signal.
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	for _, set := range [][2]int{{unix.F_SETOWN, -group}, {unix.F_SETSIG, int(syscall.SIGKILL)},
		{unix.F_SETFL, flags | unix.O_ASYNC}} {
		if err == nil {
			_, err = unix.FcntlInt(fd, set[0], set[1])
		}
	}
	if err = errors.Join(err, g.readEnd.Close()); err != nil {
		return fmt.Errorf("watch over a command: %w", err)
	}
	return nil
}

// Close kills what is left of the group.
func (g guard) Close() error { return g.writeEnd.Close() }
