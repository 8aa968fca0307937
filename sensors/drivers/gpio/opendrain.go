package gpio

import (
	"os"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// OpenDrain is a line as an open-drain output of the kernel, which makes it an
// input while it is high where the chip has no such mode (linux/gpio.h, v2).
type OpenDrain struct{ file *os.File }

// OpenDrainLine takes a line as an open-drain output, high from the first moment. The
// error is the kernel's errno.
func OpenDrainLine(at Place) (*OpenDrain, error) {
	chip, err := os.Open(at.Path)
	if err != nil {
		return nil, err
	}
	defer chip.Close()
	flags := uapi.LineFlagV2Output | uapi.LineFlagV2OpenDrain
	request := uapi.LineRequest{Lines: 1, Config: uapi.LineConfig{Flags: flags}}
	request.Offsets[0] = uint32(at.Offset)
	high := uapi.LineConfigAttribute{Attr: uapi.OutputValues(1).Encode(), Mask: 1}
	request.Config.AddAttribute(high) // from the first moment
	copy(request.Consumer[:len(request.Consumer)-1], consumer())
	if err := uapi.GetLine(chip.Fd(), &request); err != nil {
		return nil, err
	}
	// A program that the agent starts must not hold the bus.
	unix.CloseOnExec(int(request.Fd))
	return &OpenDrain{os.NewFile(uintptr(request.Fd), at.String())}, nil
}

// Set drives the line low, or lets go of it.
func (w OpenDrain) Set(high bool) error {
	values := uapi.LineValues{Mask: 1}
	if high {
		values.Bits = 1
	}
	return uapi.SetLineValuesV2(w.file.Fd(), values)
}

// Level reads the level of the line, which another may hold low.
func (w OpenDrain) Level() (bool, error) {
	values := uapi.LineValues{Mask: 1}
	err := uapi.GetLineValuesV2(w.file.Fd(), &values)
	return values.Get(0) != 0, err
}

// Close gives the line back to the kernel.
func (w OpenDrain) Close() error { return w.file.Close() }
