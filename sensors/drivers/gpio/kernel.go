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

// openKernel opens a line with its edges by chip and offset, with gpiocdev's
// structures of the kernel's interface (linux/gpio.h, version 2, Linux 5.10). It
// buys what periph does not tell or cannot do: when an edge was, how many were lost
// before it, a buffer for more than 16 of them, the errno, lines without a name,
// chips plugged in later, and a bias that is switched off. gpiocdev's own watcher
// is not used: it is a goroutine for each line, and spins once the chip has gone.
func openKernel(at Place, want Request) (Line, error) {
	fd, err := requestLine(at, edgeFlags(want.Edges)|biasFlag(want.Pull), want.Buffer)
	if err != nil {
		return nil, err
	}
	// A file that is non-blocking when it is made a [os.File] gets a deadline.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	// non-blocking: it takes deadlines
	return &kernelLine{kernelLevel: kernelLevel{fd, os.NewFile(uintptr(fd), at.String())}}, nil
}

// openLevel opens a line for its level alone.
func openLevel(at Place, pull Pull) (Leveler, error) {
	fd, err := requestLine(at, biasFlag(pull), 0)
	if err != nil {
		return nil, err
	}
	return kernelLevel{fd, os.NewFile(uintptr(fd), at.String())}, nil
}

// edgeFlags are the edges that the line is to announce. The kernel tells rising from
// falling by the voltage: nothing here asks it for an inverted line.
func edgeFlags(e Edges) uapi.LineFlagV2 {
	switch e {
	case RisingEdges:
		return uapi.LineFlagV2EdgeRising
	case FallingEdges:
		return uapi.LineFlagV2EdgeFalling
	}
	return uapi.LineFlagV2EdgeBoth
}

// biasFlag is always one of three: a line without any keeps the bias that somebody set
// before.
func biasFlag(pull Pull) uapi.LineFlagV2 {
	switch pull {
	case PullUp:
		return uapi.LineFlagV2BiasPullUp
	case PullDown:
		return uapi.LineFlagV2BiasPullDown
	}
	return uapi.LineFlagV2BiasDisabled
}

// noInterrupt reports what the kernel says of a line that cannot announce edges,
// such as one of an I2C expander whose INT is not wired; which one differs between
// kernels.
func noInterrupt(err error) bool {
	return errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL)
}

// requestLine takes one line as an input. The file that it returns is the line's: the
// kernel gives the line to nobody else until it is closed, also by the end of the
// program.
func requestLine(at Place, flags uapi.LineFlagV2, buffer uint32) (fd int, err error) {
	file, err := os.Open(at.Path)
	if err != nil {
		return -1, err
	}
	defer file.Close()
	request := uapi.LineRequest{
		Lines:           1,
		Config:          uapi.LineConfig{Flags: uapi.LineFlagV2Input | flags},
		EventBufferSize: buffer, // the kernel cuts it to 1024
	}
	request.Offsets[0] = uint32(at.Offset)
	copy(request.Consumer[:len(request.Consumer)-1], consumer())
	if err := uapi.GetLine(file.Fd(), &request); err != nil {
		return -1, err
	}
	return int(request.Fd), nil
}

// consumer is what gpioinfo shows as the holder of our lines, as periph writes it.
func consumer() string {
	return fmt.Sprintf("%.20s@%d", filepath.Base(os.Args[0]), os.Getpid())
}

// kernelLevel is a line of the kernel's interface, for its level.
type kernelLevel struct {
	fd   int // file's; asking file for it would make it blocking
	file *os.File
}

// Level asks the kernel, which asks the chip: on an expander that is a transfer on its
// bus.
func (l kernelLevel) Level(context.Context) (bool, error) {
	values := uapi.LineValues{Mask: 1}
	err := uapi.GetLineValuesV2(uintptr(l.fd), &values)
	return values.Get(0) != 0, err
}

// Close gives the line back; the kernel leaves its bias as it is.
func (l kernelLevel) Close() error { return l.file.Close() }

// kernelLine is a line of the kernel's interface that announces its edges. The
// kernel keeps the latest; what it had to drop shows in their numbers.
type kernelLine struct {
	kernelLevel
	seq uint32 // the number of the last edge
	// where events are read into: as many as a contact takes at once
	raw [64 * eventSize]byte
}

// WaitEdges reads what the kernel keeps, or waits for the first. The wait is the
// runtime's poller's and takes no thread; a context that ends moves its deadline into the
// past.
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

// eventSize is the size of struct gpio_v2_line_event: the time in ns by
// CLOCK_MONOTONIC, what happened, the line, its number in the request and in the
// line, and 24 bytes to spare.
const eventSize = 48

// decode makes edges of events as the kernel wrote them just now.
func (l *kernelLine) decode(raw []byte, into []Edge) (n int, err error) {
	ticks, now := monotonic(), time.Now()
	for ; len(raw) >= eventSize; raw = raw[eventSize:] {
		id := uapi.LineEventID(binary.NativeEndian.Uint32(raw[8:]))
		if id != uapi.LineEventRisingEdge && id != uapi.LineEventFallingEdge {
			return n, fmt.Errorf("the kernel reported an event %d that is not an edge", id)
		}
		// The kernel's clock is not the wall clock: only an age can be carried over.
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

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // every Linux has it
	return ts.Nano()
}
