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

// A fifo is a named pipe to which other programs write.
type fifo struct {
	file *os.File
	path string
	info fs.FileInfo // of the open pipe, to detect that it was replaced
}

// openFIFO opens a pipe for reading only: so a read returns end of file when the last writer
// closes the pipe.
func openFIFO(path string) (*fifo, error) {
	is, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w (make it with mkfifo %s)", err, path)
	}
	if is.Mode().Type() != fs.ModeNamedPipe {
		return nil, fmt.Errorf("%s: is not a named pipe (move it away, and make one with mkfifo %s)", path, path)
	}
	// Without O_NONBLOCK, open would wait for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: it has to be open to %s for reading", err, host.UserName())
	}
	if err != nil {
		return nil, err
	}
	// It may have been replaced between Stat and OpenFile.
	if is, err = file.Stat(); err != nil || is.Mode().Type() != fs.ModeNamedPipe {
		return nil, errors.Join(fmt.Errorf("%s: was replaced while it was opened", path), err, file.Close())
	}
	return &fifo{file, path, is}, nil
}

// lines implements [source].
func (f *fifo) lines() *os.File { return f.file }

// checkAlive returns an error if the pipe was replaced, for example by a service that restarted:
// nobody writes to the old one any more.
func (f *fifo) checkAlive() error {
	is, err := os.Stat(f.path)
	if err == nil && !os.SameFile(is, f.info) {
		err = fmt.Errorf("%s: was replaced by another", f.path)
	}
	return err
}

// waitEnded is not called in normal operation: a pipe waits for its next writer.
func (f *fifo) waitEnded(context.Context) error { return fmt.Errorf("%s: ended", f.path) }

// Close closes the pipe but does not remove it: another program made it.
func (f *fifo) Close() error { return f.file.Close() }
