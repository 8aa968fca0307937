package lines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A fifo is a named pipe that others write to.
type fifo struct {
	file *os.File
	path string
	is   fs.FileInfo // which pipe was opened, to tell it from one that was made anew
}

// openFIFO opens a pipe for reading alone: then it tells when its last writer
// leaves.
func openFIFO(path string) (*fifo, error) {
	is, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w (make it with mkfifo %s)", err, path)
	}
	if is.Mode().Type() != fs.ModeNamedPipe {
		return nil, fmt.Errorf("%s: is not a named pipe (move it away, and make one with mkfifo %s)", path, path)
	}
	// O_NONBLOCK: else the open would wait for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: it has to be open to %s for reading", err, host.UserName())
	}
	if err != nil {
		return nil, err
	}
	// Between Stat and OpenFile it may have become another file.
	if is, err = file.Stat(); err != nil || is.Mode().Type() != fs.ModeNamedPipe {
		return nil, errors.Join(fmt.Errorf("%s: was replaced while it was opened", path), err, file.Close())
	}
	return &fifo{file, path, is}, nil
}

// lines implements [source].
func (f *fifo) lines() *os.File { return f.file }

// checkAlive finds a pipe that was made anew, by a service that started again: ours is
// then one that nobody writes to.
func (f *fifo) checkAlive() error {
	is, err := os.Stat(f.path)
	if err == nil && !os.SameFile(is, f.is) {
		err = fmt.Errorf("%s: was replaced by another", f.path)
	}
	return err
}

// ended is not expected: a pipe waits for its next writer.
func (f *fifo) ended(context.Context) error { return fmt.Errorf("%s: ended", f.path) }

// Close leaves the pipe where it is: it is its maker's.
func (f *fifo) Close() error { return f.file.Close() }
