package gpio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/warthog618/go-gpiocdev/uapi"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A Chip is a GPIO chip as the kernel shows it now.
type Chip struct {
	Path  string     // its device file, "/dev/gpiochip0"
	Name  string     // "gpiochip0"
	Label string     // set by its driver: "pinctrl-bcm2711"
	Lines []LineInfo // by offset
}

// LineInfo is one line as the kernel shows it now (linux/gpio.h, struct
// gpio_v2_line_info).
type LineInfo struct {
	Name     string // the kernel's: "GPIO17", "SDA1"
	Consumer string // the program or driver that holds it, if it gave a name
	Flags    uapi.LineFlagV2
}

// Used reports whether a program or a driver holds the line.
func (l LineInfo) Used() bool { return l.Flags&uapi.LineFlagV2Used != 0 }

// Output reports whether the line is an output, of its current or last holder.
func (l LineInfo) Output() bool { return l.Flags&uapi.LineFlagV2Output != 0 }

// Bias returns the bias of the line; it is empty if the kernel does not know it.
func (l LineInfo) Bias() Pull {
	switch {
	case l.Flags&uapi.LineFlagV2BiasPullUp != 0:
		return PullUp
	case l.Flags&uapi.LineFlagV2BiasPullDown != 0:
		return PullDown
	case l.Flags&uapi.LineFlagV2BiasDisabled != 0:
		return PullOff
	}
	return ""
}

// NoChipsHelp is what to do about a machine without a GPIO chip.
const NoChipsHelp = "run holdfast on the Raspberry Pi itself; in a container, pass --device /dev/gpiochip0"

// Chips reads all GPIO chips from the kernel at each call; periph reads them only at the start.
// A chip with two device files is returned once. broken has an error for each chip that could
// not be read, or one error if there is no chip; they say what the user can do.
func Chips(h *host.Host) (all []Chip, broken []error) {
	names, err := host.Numbered(h.Dev, "gpiochip")
	if err != nil {
		return nil, []error{err}
	}
	if len(names) == 0 {
		return nil, []error{fmt.Errorf("no %s/gpiochip*: %w: %s", h.Dev, os.ErrNotExist, NoChipsHelp)}
	}
	for _, name := range names {
		c, err := readChip(filepath.Join(h.Dev, name))
		switch {
		case err != nil:
			broken = append(broken, explainChip(err))
		case !slices.ContainsFunc(all, func(other Chip) bool { return other.Name == c.Name }):
			all = append(all, c) // gpiochip4 of a Pi 5 is a link to gpiochip0
		}
	}
	return all, broken
}

// explainChip adds to a permission error which group may open a chip.
func explainChip(err error) error {
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%w: join the group that may: sudo usermod -aG gpio %s, then start again",
			err, host.UserName())
	}
	return err
}

// readChip reads a chip and the information on each of its lines. It does not request the lines,
// so it also works for lines that are in use.
func readChip(path string) (Chip, error) {
	file, err := os.Open(path)
	if err != nil {
		return Chip{}, err
	}
	defer file.Close()
	info, err := uapi.GetChipInfo(file.Fd())
	if err != nil {
		return Chip{}, fmt.Errorf("%s: is it a GPIO chip? %w", path, err)
	}
	c := Chip{Path: path, Name: uapi.BytesToString(info.Name[:]), Label: uapi.BytesToString(info.Label[:])}
	for offset := range int(info.Lines) {
		l, err := uapi.GetLineInfoV2(file.Fd(), offset)
		if err != nil {
			return Chip{}, fmt.Errorf("%s line %d: %w", path, offset, err)
		}
		c.Lines = append(c.Lines, LineInfo{
			Name:     uapi.BytesToString(l.Name[:]),
			Consumer: uapi.BytesToString(l.Consumer[:]),
			Flags:    l.Flags,
		})
	}
	return c, nil
}
