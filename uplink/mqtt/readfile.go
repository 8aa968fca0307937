package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// maxFile bounds the bytes that are read of a file. The trusted authorities of a
// whole system are 250 kB; a device such as /dev/zero has no end.
const maxFile = 4 << 20

// A content is what was read of a file, and the mode that it had then.
type content struct {
	text []byte // not to be changed: several callers of readFile may share it
	mode fs.FileMode
	err  error
}

// A pendingRead is a read that has not returned yet, or has returned when no caller
// waited for it any more.
type pendingRead struct {
	done    chan struct{} // closed when content is set
	waiting int           // callers of readFile; guarded by pendingReads
	content               // may be read after done is closed
}

// pendingReads holds the reads that have not returned, by the name of the file. The
// read of a named pipe without a writer, or from a file server that does not answer,
// cannot be cancelled. So there is at most one for each file, and the next caller
// waits for the same one: attempts to connect do not add up goroutines.
var pendingReads = struct {
	sync.Mutex
	of map[string]*pendingRead
}{of: map[string]*pendingRead{}}

// readFile reads a whole file of at most maxFile bytes. It returns when ctx is done,
// even if the read does not return.
func readFile(ctx context.Context, name string) (content, error) {
	p := joinRead(name)
	defer p.leave(name)
	select {
	case <-p.done:
		return p.content, p.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return content{}, fmt.Errorf("read %s: its end did not come in time: is it a named pipe that nobody "+
				"writes to? %w", name, ctx.Err())
		}
		return content{}, ctx.Err()
	}
}

// joinRead returns the pending read of a file, or starts one. The caller has to call
// leave.
func joinRead(name string) *pendingRead {
	pendingReads.Lock()
	defer pendingReads.Unlock()
	p := pendingReads.of[name]
	if p == nil {
		p = &pendingRead{done: make(chan struct{})}
		pendingReads.of[name] = p
		go p.read(name) // ends with the read, or with the process
	}
	p.waiting++
	return p
}

// read reads the file and closes done. If nobody waits, the result is dropped, and
// the next caller reads the file again; except that of a pipe, whose text can be
// read only once.
func (p *pendingRead) read(name string) {
	c := readWhole(name)
	pendingReads.Lock()
	defer pendingReads.Unlock()
	p.content = c
	close(p.done)
	if p.waiting == 0 && c.mode&fs.ModeNamedPipe == 0 {
		delete(pendingReads.of, name)
	}
}

// leave ends a caller's wait. A result that was delivered is not kept, so that the
// next caller gets the file as it is then.
func (p *pendingRead) leave(name string) {
	pendingReads.Lock()
	defer pendingReads.Unlock()
	p.waiting--
	select {
	case <-p.done:
		if pendingReads.of[name] == p {
			delete(pendingReads.of, name)
		}
	default:
	}
}

// readWhole reads a file without a bound on the time.
func readWhole(name string) (c content) {
	f, err := os.Open(name)
	if err != nil {
		return content{err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return content{err: err}
	}
	c.mode = info.Mode()
	c.text, c.err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if c.err == nil && len(c.text) > maxFile {
		c.err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return c
}
