package lines

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"golang.org/x/sys/unix"
)

// maxLine bounds the memory for a source that never ends its line.
const maxLine = 4096 // bytes, with its end

// A reader cuts what a pipe delivers into lines, in memory of one line. It
// takes no more than most bytes a period, so that a source without end costs
// little.
type reader struct {
	file    *os.File
	writers bool // come and go: the end is that of a line, and more may come

	buf     [maxLine]byte
	from, n int  // what is in buf and was not taken: buf[from:n]
	long    bool // the line in buf has been too long: skip to its end

	period time.Time // when the current period began
	taken  int       // bytes read in it, at most maxInPeriod and one read more
}

const (
	period      = 100 * time.Millisecond // short: what a source could not send is not sent at once later
	maxInPeriod = 2 * maxLine            // bytes: 80 KiB/s, 1000 lines a second of 80 bytes
)

// lineTooLong is the error of a line that was skipped.
type lineTooLong struct{}

func (lineTooLong) Error() string {
	return fmt.Sprintf("a line of more than %d bytes was skipped", maxLine)
}

// line returns the next line that is in memory, without its end, or false. A
// line that is too long is a lineTooLong, once.
func (r *reader) line() (string, bool, error) {
	for {
		end := bytes.IndexByte(r.buf[r.from:r.n], '\n')
		if end < 0 {
			break
		}
		line := bytes.TrimSpace(r.buf[r.from : r.from+end])
		r.from += end + 1
		if !r.long {
			return string(line), true, nil
		}
		r.long = false // that was its end
	}
	r.n = copy(r.buf[:], r.buf[r.from:r.n])
	r.from = 0
	if r.n < len(r.buf) {
		return "", false, nil
	}
	r.n = 0 // the buffer is full of one line: its end is yet to come
	if r.long {
		return "", false, nil
	}
	r.long = true
	return "", true, lineTooLong{}
}

// rest is what came without an end before the source ended.
func (r *reader) rest() string {
	line := bytes.TrimSpace(r.buf[r.from:r.n])
	r.from, r.n = 0, 0
	if r.long {
		return ""
	}
	return string(line)
}

// fill reads more, until a time or the end of ctx.
func (r *reader) fill(ctx context.Context, until time.Time) error {
	// What is not read stays in the pipe, and its writer waits: nothing is lost by it.
	if err := r.pace(ctx); err != nil {
		return err
	}
	if err := r.file.SetReadDeadline(until); err != nil {
		return err
	}
	// A deadline in the past ends the read at once.
	stop := context.AfterFunc(ctx, func() { r.file.SetReadDeadline(time.Unix(1, 0)) }) // its error is the read's
	defer stop()
	read := r.file.Read
	if r.writers {
		read = r.readWriters
	}
	n, err := read(r.buf[r.n:])
	r.n += n
	r.taken += n
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// readWriters reads from a pipe whose writers come and go. When the last of them
// leaves a line without an end, it ends there: else it would wait for the next
// writer's line and become one with it. Two writers at a time, or one that comes
// before this was read, cannot be distinguished.
func (r *reader) readWriters(buf []byte) (n int, err error) {
	raw, err := r.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	// Where a line is unfinished the end of file is its end, and else a writer is waited
	// for.
	unfinished := r.n > r.from || r.long
	waiting := raw.Read(func(fd uintptr) bool {
		for {
			n, err = unix.Read(int(fd), buf)
			if err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			return false
		}
		return err != nil || n > 0 || unfinished // else nobody has it open: wait for a writer
	})
	switch {
	case waiting != nil:
		return 0, waiting
	case err != nil:
		return 0, &os.PathError{Op: "read", Path: r.file.Name(), Err: err}
	case n == 0:
		buf[0] = '\n' // there is room: a full buffer is no unfinished line
		n = 1
	}
	return n, nil
}

// pace waits for the next period where this one's bytes have been taken.
func (r *reader) pace(ctx context.Context) error {
	now := time.Now()
	if now.Sub(r.period) > period {
		r.period, r.taken = now, 0
	}
	if r.taken < maxInPeriod {
		return nil
	}
	return host.Sleep(ctx, time.Until(r.period.Add(period+time.Millisecond)))
}
