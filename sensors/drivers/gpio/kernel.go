package gpio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// openKernel opens a line with its edges by chip and offset. It uses the structures of gpiocdev
// for the kernel's interface (linux/gpio.h, version 2, Linux 5.10). Unlike periph this gives the
// time of an edge, the number of lost edges, a buffer for more than 16 edges, the errno, lines
// without a name, chips that are plugged in later, and a bias that is off. It does not use
// gpiocdev's watcher, which needs a goroutine for each line, and spins when the chip is gone.
func openKernel(at Place, want Request) (Line, error) {
	fd, err := requestLine(at, edgeFlags(want.Edges)|biasFlag(want.Pull), want.Buffer)
	if err != nil {
		return nil, err
	}
	// An [os.File] supports deadlines only if the file is non-blocking.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &kernelLine{kernelLevel: kernelLevel{fd, os.NewFile(uintptr(fd), at.String())}}, nil
}

// openLevel opens a line for its level only.
func openLevel(at Place, pull Pull) (Leveler, error) {
	fd, err := requestLine(at, biasFlag(pull), 0)
	if err != nil {
		return nil, err
	}
	return kernelLevel{fd, os.NewFile(uintptr(fd), at.String())}, nil
}

// edgeFlags returns the flags of the edges that the line is to report. Rising means a higher
// voltage: we never request an inverted line.
func edgeFlags(e Edges) uapi.LineFlagV2 {
	switch e {
	case RisingEdges:
		return uapi.LineFlagV2EdgeRising
	case FallingEdges:
		return uapi.LineFlagV2EdgeFalling
	}
	return uapi.LineFlagV2EdgeBoth
}

// biasFlag always returns one of three flags: without any, a line would keep an earlier bias.
func biasFlag(pull Pull) uapi.LineFlagV2 {
	switch pull {
	case PullUp:
		return uapi.LineFlagV2BiasPullUp
	case PullDown:
		return uapi.LineFlagV2BiasPullDown
	}
	return uapi.LineFlagV2BiasDisabled
}

// noInterrupt reports whether an error means that the line cannot report edges, such as one of an
// I2C expander whose INT is not wired. The errno differs between kernels.
func noInterrupt(err error) bool {
	return errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL)
}

// requestLine requests one line as an input. The line is held until the returned file is closed,
// at the latest when the program ends.
func requestLine(at Place, flags uapi.LineFlagV2, buffer uint32) (fd int, err error) {
	file, err := os.Open(at.Path)
	if err != nil {
		return -1, err
	}
	defer file.Close()
	request := uapi.LineRequest{
		Lines:           1,
		Config:          uapi.LineConfig{Flags: uapi.LineFlagV2Input | flags},
		EventBufferSize: buffer, // at most 1024
	}
	request.Offsets[0] = uint32(at.Offset)
	copy(request.Consumer[:len(request.Consumer)-1], consumer())
	if err := uapi.GetLine(file.Fd(), &request); err != nil {
		return -1, err
	}
	return int(request.Fd), nil
}

// consumer is the name that gpioinfo shows for our lines, in the same form as periph's.
func consumer() string {
	return fmt.Sprintf("%.20s@%d", filepath.Base(os.Args[0]), os.Getpid())
}

// kernelLevel is a line of the kernel's interface, for its level only.
type kernelLevel struct {
	fd   int // of file, stored because file.Fd would make it blocking
	file *os.File
}

// Level reads the level from the chip; on an expander this is a transfer on its bus.
func (l kernelLevel) Level(context.Context) (bool, error) {
	values := uapi.LineValues{Mask: 1}
	err := uapi.GetLineValuesV2(uintptr(l.fd), &values)
	return values.Get(0) != 0, err
}

// Close gives the line back; the kernel leaves its bias as it is.
func (l kernelLevel) Close() error { return l.file.Close() }

// kernelLine is a line of the kernel's interface that reports its edges. If its buffer is full,
// the kernel drops the oldest edges, which leaves a hole in their numbers.
type kernelLine struct {
	kernelLevel
	seq uint32 // the number of the last edge
	// buffer for events: as many as a contact reads at once
	raw [64 * eventSize]byte
}

// WaitEdges reads the edges in the kernel's buffer, or waits for the first. The wait uses the
// runtime's poller, not a thread. The end of ctx sets a deadline in the past, which ends the
// read.
func (l *kernelLine) WaitEdges(ctx context.Context, timeout time.Duration, into []Edge) (int, error) {
	if err := l.file.SetReadDeadline(time.Now().Add(max(timeout, time.Millisecond))); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { l.file.SetReadDeadline(time.Unix(1, 0)) })() // its error is the read's
	raw := l.raw[:min(len(l.raw), len(into)*eventSize)]
	size, err := l.file.Read(raw)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return l.decode(raw[:size], into)
}

// eventSize is the size of struct gpio_v2_line_event: timestamp in ns (CLOCK_MONOTONIC), id,
// offset, the sequence numbers of the request and of the line, and 24 bytes of padding.
const eventSize = 48

// decode decodes events that were just read.
func (l *kernelLine) decode(raw []byte, into []Edge) (n int, err error) {
	ticks, now := monotonic(), time.Now()
	for ; len(raw) >= eventSize; raw = raw[eventSize:] {
		id := uapi.LineEventID(binary.NativeEndian.Uint32(raw[8:]))
		if id != uapi.LineEventRisingEdge && id != uapi.LineEventFallingEdge {
			return n, fmt.Errorf("the kernel reported an event %d that is not an edge", id)
		}
		// The kernel's clock is not the wall clock: convert through the age of the event.
		age := ticks - int64(binary.NativeEndian.Uint64(raw))
		seq := binary.NativeEndian.Uint32(raw[20:])
		into[n] = Edge{
			High: id == uapi.LineEventRisingEdge,
			At:   now.Add(-time.Duration(max(age, 0))),
			Lost: seq - l.seq - 1,
		}
		l.seq = seq
		n++
	}
	return n, nil
}

// monotonic returns CLOCK_MONOTONIC in ns.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // every Linux has it
	return ts.Nano()
}
