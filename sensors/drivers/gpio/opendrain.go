package gpio

import (
	"os"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// OpenDrain is a line as an open-drain output of the kernel, which makes it an
// input while it is high where the chip has no such mode (linux/gpio.h, v2).
type OpenDrain struct{ file *os.File }

// OpenDrainLine takes a line as an open-drain output, high from the first moment. The
// error is the kernel's errno.
func OpenDrainLine(at Place) (*OpenDrain, error) {
	fd, err := requestOutput(at, true, uapi.LineFlagV2OpenDrain)
	if err != nil {
		return nil, err
	}
	return &OpenDrain{os.NewFile(uintptr(fd), at.String())}, nil
}

// Set drives the line low, or lets go of it.
func (w OpenDrain) Set(high bool) error {
	return setLevel(int(w.file.Fd()), high)
}

// Level reads the level of the line, which another may hold low.
func (w OpenDrain) Level() (bool, error) {
	values := uapi.LineValues{Mask: 1}
	err := uapi.GetLineValuesV2(w.file.Fd(), &values)
	return values.Get(0) != 0, err
}

// Close gives the line back to the kernel.
func (w OpenDrain) Close() error { return w.file.Close() }
