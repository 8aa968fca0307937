package gpio

import (
	"errors"
	"fmt"
	"os"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// An Output is one line held as an output. It is for one goroutine at a time.
type Output struct {
	fd   int // file's; asking file for it would make it blocking
	file *os.File
}

// OpenOutput opens a pin as an output, on the chip that it was on when it was first opened.
// The line has its level from the moment at which it becomes an output: the kernel takes
// both in one call, and never makes it an input (linux/gpio.h, GPIO_V2_GET_LINE_IOCTL). The
// error says how to fix what a person can.
func OpenOutput(h *host.Host, pin Pin, high bool) (*Output, error) {
	at, err := look(h, pin)
	if err != nil {
		return nil, err
	}
	fd, err := requestOutput(at, high, 0)
	if err != nil {
		return nil, fmt.Errorf("%v (%v): %w", pin, at, at.explain(err))
	}
	return &Output{fd, os.NewFile(uintptr(fd), at.String())}, nil
}

// look finds a pin among the chips that there are now.
func look(h *host.Host, pin Pin) (Place, error) {
	chips, errs := Chips(h)
	broken := errors.Join(errs[:min(1, len(errs))]...) // the first says enough
	// Without any chip the reason is why none could be read, and not which lines there
	// are.
	if len(chips) == 0 {
		return Place{}, fmt.Errorf("%v: %w", pin, broken)
	}
	at, err := Find(h, pin, chips)
	if err != nil && broken != nil {
		return Place{}, fmt.Errorf("%v: %w; and %w", pin, err, broken)
	}
	if err != nil {
		return Place{}, fmt.Errorf("%v: %w", pin, err)
	}
	return at, nil
}

// requestOutput takes one line as an output with a level. The error is the kernel's errno.
func requestOutput(at Place, high bool, flags uapi.LineFlagV2) (fd int, err error) {
	chip, err := os.Open(at.Path)
	if err != nil {
		return -1, err
	}
	defer chip.Close()
	request := uapi.LineRequest{Lines: 1, Config: uapi.LineConfig{Flags: uapi.LineFlagV2Output | flags}}
	request.Offsets[0] = uint32(at.Offset)
	var values uapi.OutputValues
	if high {
		values = 1
	}
	request.Config.AddAttribute(uapi.LineConfigAttribute{Attr: values.Encode(), Mask: 1}) // from the first moment
	copy(request.Consumer[:len(request.Consumer)-1], consumer())
	if err := uapi.GetLine(chip.Fd(), &request); err != nil {
		return -1, err
	}
	// A program that the agent starts must not hold the line after the agent's end.
	unix.CloseOnExec(int(request.Fd))
	return int(request.Fd), nil
}

// Set drives the line high or low.
func (o *Output) Set(high bool) error { return setLevel(o.fd, high) }

// Level reads the level at the pad, whatever drives it.
func (o *Output) Level() (high bool, err error) {
	values := uapi.LineValues{Mask: 1}
	err = uapi.GetLineValuesV2(uintptr(o.fd), &values)
	return values.Get(0) != 0, err
}

// Close gives the line back. On a Raspberry Pi it keeps its level (persist_gpio_outputs); on
// others, and with dtparam=strict_gpiod, it becomes an input.
func (o *Output) Close() error { return o.file.Close() }

// setLevel drives a line that was requested as an output.
func setLevel(fd int, high bool) error {
	values := uapi.LineValues{Mask: 1}
	if high {
		values.Bits = 1
	}
	return uapi.SetLineValuesV2(uintptr(fd), values)
}
