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

// maxLine bounds the memory for a line without an end.
const maxLine = 4096 // bytes, with the newline

// A reader splits the data of a pipe into lines, with a buffer for one line. It reads at most
// maxInPeriod bytes per period, so that a source that writes without end uses little CPU time.
type reader struct {
	file    *os.File
	writers bool // writers come and go: an end of file ends only the current line

	buf     [maxLine]byte
	from, n int  // unread data: buf[from:n]
	long    bool // the line in buf is too long: skip to its end

	period time.Time // when the current period began
	taken  int       // bytes read in the period; the last read may exceed maxInPeriod
}

const (
	period      = 100 * time.Millisecond // short, so that a burst after a pause is small
	maxInPeriod = 2 * maxLine            // bytes: 80 KiB/s, 1000 lines a second of 80 bytes
)

// lineTooLong is the error of a line that was skipped.
type lineTooLong struct{}

func (lineTooLong) Error() string {
	return fmt.Sprintf("a line of more than %d bytes was skipped", maxLine)
}

// line returns the next line in the buffer, without its newline, or false if there is none. For a
// line that is too long it returns lineTooLong once.
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
		r.long = false // this was the end of the long line
	}
	r.n = copy(r.buf[:], r.buf[r.from:r.n])
	r.from = 0
	if r.n < len(r.buf) {
		return "", false, nil
	}
	r.n = 0 // the buffer is full and has no newline: drop it
	if r.long {
		return "", false, nil
	}
	r.long = true
	return "", true, lineTooLong{}
}

// rest returns the last line if the source ended without a newline.
func (r *reader) rest() string {
	line := bytes.TrimSpace(r.buf[r.from:r.n])
	r.from, r.n = 0, 0
	if r.long {
		return ""
	}
	return string(line)
}

// fill reads more data, and waits for it until a time or the end of ctx.
func (r *reader) fill(ctx context.Context, until time.Time) error {
	// Data that is not read stays in the pipe, and its writer waits: nothing is lost.
	if err := r.pace(ctx); err != nil {
		return err
	}
	if err := r.file.SetReadDeadline(until); err != nil {
		return err
	}
	// A deadline in the past ends the read at once; Read returns any error of it.
	stop := context.AfterFunc(ctx, func() { r.file.SetReadDeadline(time.Unix(1, 0)) })
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

// readWriters reads from a pipe whose writers come and go. If the last writer closes the pipe
// after an unfinished line, it adds a newline: otherwise the next writer's line would be appended.
// This does not work for two writers at the same time, or for a new writer that opens the pipe
// before the end of file is read.
func (r *reader) readWriters(buf []byte) (n int, err error) {
	raw, err := r.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	// After an unfinished line, the end of file is its end. Otherwise wait for a writer.
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
		return err != nil || n > 0 || unfinished // otherwise no writer has it open: wait
	})
	switch {
	case waiting != nil:
		return 0, waiting
	case err != nil:
		return 0, &os.PathError{Op: "read", Path: r.file.Name(), Err: err}
	case n == 0:
		buf[0] = '\n' // there is room: line empties a full buffer
		n = 1
	}
	return n, nil
}

// pace waits for the next period if maxInPeriod bytes were read in this one.
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
