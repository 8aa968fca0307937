package gpio

import (
	"os"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// OpenDrain is a line as an open-drain output. If the chip has no such mode, the kernel makes the
// line an input while it is high (linux/gpio.h, v2).
type OpenDrain struct{ file *os.File }

// OpenDrainLine opens a line as an open-drain output, high from the first moment. The error wraps
// the errno.
func OpenDrainLine(at Place) (*OpenDrain, error) {
	fd, err := requestOutput(at, true, uapi.LineFlagV2OpenDrain)
	if err != nil {
		return nil, err
	}
	return &OpenDrain{os.NewFile(uintptr(fd), at.String())}, nil
}

// Set drives the line low, or releases it.
func (w OpenDrain) Set(high bool) error {
	return setLevel(int(w.file.Fd()), high)
}

// Level reads the level of the line, which something else may hold low.
func (w OpenDrain) Level() (bool, error) {
	values := uapi.LineValues{Mask: 1}
	err := uapi.GetLineValuesV2(w.file.Fd(), &values)
	return values.Get(0) != 0, err
}

// Close gives the line back to the kernel.
func (w OpenDrain) Close() error { return w.file.Close() }
