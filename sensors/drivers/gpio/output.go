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
	fd   int // of file, stored because file.Fd would make it blocking
	file *os.File
}

// OpenOutput opens a pin as an output, on the chip on which it was found first. The line has the
// given level from the moment it becomes an output: one call sets both, and the line is never an
// input in between (linux/gpio.h, GPIO_V2_GET_LINE_IOCTL). The error says what the user can do.
func OpenOutput(h *host.Host, pin Pin, high bool) (*Output, error) {
	at, err := locate(h, pin)
	if err != nil {
		return nil, err
	}
	fd, err := requestOutput(at, high, 0)
	if err != nil {
		return nil, fmt.Errorf("%v (%v): %w", pin, at, at.explain(err))
	}
	return &Output{fd, os.NewFile(uintptr(fd), at.String())}, nil
}

// locate reads the chips and finds a pin among them.
func locate(h *host.Host, pin Pin) (Place, error) {
	chips, errs := Chips(h)
	broken := errors.Join(errs[:min(1, len(errs))]...) // one is enough
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

// requestOutput requests one line as an output with a level. The error wraps the errno.
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
	// A child process must not inherit the line and hold it after the agent has ended.
	unix.CloseOnExec(int(request.Fd))
	return int(request.Fd), nil
}

// Set drives the line high or low.
func (o *Output) Set(high bool) error { return setLevel(o.fd, high) }

// Level reads the level at the pin, which may differ from the one that was set.
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
