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

const maxFile = 4 << 20 // bytes: the roots of a whole system are 250 kB, and /dev/zero has no end

// content is what was in a file, and the mode that it had.
type content struct {
	text []byte
	mode fs.FileMode
	err  error
}

// A pendingRead has not come back yet, or nobody waited when it did.
type pendingRead struct {
	done    chan struct{} // closed when content is set
	waiting int
	content
}

// pendingReads holds the reads that have not come back: of a named pipe that
// nobody writes to, of a server of files that does not answer. Nothing ends
// them, so there is at most one of each file; who asks for the file next waits
// for the same one.
var pendingReads = struct {
	sync.Mutex
	of map[string]*pendingRead
}{of: map[string]*pendingRead{}}

// readFile reads a whole file. It returns when ctx is done, whatever the file
// is.
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

// joinRead waits for the read of a file that has not come back, or begins one.
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

func (p *pendingRead) read(name string) {
	c := readWhole(name)
	pendingReads.Lock()
	defer pendingReads.Unlock()
	p.content = c
	close(p.done)
	if p.waiting == 0 && c.mode&fs.ModeNamedPipe == 0 { // what came by a pipe comes once
		delete(pendingReads.of, name)
	}
}

// leave ends the waiting of one who asked.
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
