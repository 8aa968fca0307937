// Package scan shows what is connected to the machine: as text, or as a `sensors:` section
// to paste into a configuration.
//
// Package sensors/scan finds it without changing anything. A bus that hangs does not affect
// the other buses, and has a time limit.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/scan"
)

// busTime limits one bus. A healthy one takes tenths of a second, and one on which every
// second address times out takes twenty seconds.
const busTime = 30 * time.Second

// Options are the format and the destination. The result is written to Out in one write, at
// the end.
type Options struct {
	YAML bool // stanzas to paste, instead of text
	Out  io.Writer
}

// errBlind means that no part of the machine could be examined.
var errBlind = errors.New("nothing could be looked at")

// Run scans a machine and prints the result. It fails if no part at all could be examined,
// or ctx ended.
//
// If only one part could not be examined, Run prints that error in its place and returns
// nil. It blocks for busTime and a little more at most.
func Run(ctx context.Context, h *drivers.Hardware, o Options) error {
	// After the end of ctx nothing is printed: an incomplete result would look complete.
	found := look(ctx, h)
	if err := ctx.Err(); err != nil {
		return err
	}
	show := text
	if o.YAML {
		show = yaml
	}
	if _, err := io.WriteString(o.Out, show(found)); err != nil {
		return err
	}
	if found.blind() { // the errors were printed above
		return errBlind
	}
	return nil
}

// findings are what is connected to a machine, and the errors of the parts that could not
// be examined. They do not change after look has returned.
type findings struct {
	chips    []scan.Chip    // GPIO
	chipsErr error          // why chips may be incomplete
	buses    []scan.Adapter // I2C; each has its own error
	busesErr error          // why buses may be incomplete
	kernel   []subsystem    // what the kernel's drivers measure
}

// A subsystem is a part of the kernel with drivers that measure.
type subsystem struct {
	name    string        // "hwmon"
	title   string        // for the text output
	devices []scan.Device // what was found
	err     error         // why nothing was found
}

// devices returns the devices of one subsystem.
func (f findings) devices(subsystem string) []scan.Device {
	for _, s := range f.kernel {
		if s.name == subsystem {
			return s.devices
		}
	}
	return nil
}

// blind reports whether every part failed: then there is no result. A part that was
// examined and is empty is a result.
func (f findings) blind() bool {
	for _, s := range f.kernel {
		if s.err == nil {
			return false
		}
	}
	for _, b := range f.buses {
		if b.Err == nil {
			return false
		}
	}
	return len(f.chips) == 0
}

// look examines everything. An error of one part is stored in its place, and the other
// parts are still examined. It reads sysfs and the device files, and sends only on I2C
// buses.
func look(ctx context.Context, h *drivers.Hardware) (f findings) {
	f.chips, f.chipsErr = scan.GPIO(h)
	f.buses, f.busesErr = scan.I2C(h)
	f.buses = askAll(ctx, f.buses, func(ctx context.Context, bus scan.Adapter) scan.Adapter {
		return scan.Bus(ctx, h, bus)
	})
	for _, s := range []struct {
		name, title string
		scan        func(*drivers.Hardware) ([]scan.Device, error)
	}{
		{"w1", "1-wire", scan.OneWire},
		{"iio", "Industrial I/O", scan.IIO},
		{"hwmon", "Hardware monitoring", scan.Hwmon},
		{"thermal", "Thermal zones", scan.Thermal},
	} {
		// A subsystem without devices has no folder, which is no error; a missing sysfs is one, as
		// in a container.
		devices, err := s.scan(h)
		if _, gone := os.Stat(h.Sys); gone != nil && err == nil {
			err = fmt.Errorf("sysfs is not there: %w", gone)
		}
		f.kernel = append(f.kernel, subsystem{s.name, s.title, devices, err})
	}
	return f
}

// askAll examines all buses at the same time. A bus that does not return in time, because
// its kernel driver hangs, is abandoned: its goroutine ends with the program.
func askAll(ctx context.Context, buses []scan.Adapter,
	ask func(context.Context, scan.Adapter) scan.Adapter) []scan.Adapter {
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	// Each channel has a buffer for its answer, so that a late answer does not block.
	answers := make([]chan scan.Adapter, len(buses))
	for i, bus := range buses {
		answers[i] = make(chan scan.Adapter, 1)
		go func() { answers[i] <- ask(ctx, bus) }()
	}
	all := make([]scan.Adapter, len(buses))
	for i, bus := range buses {
		all[i] = await(ctx, bus, answers[i])
	}
	return all
}

// await waits for an answer, and for a short time more after the end of ctx.
func await(ctx context.Context, bus scan.Adapter, answer <-chan scan.Adapter) scan.Adapter {
	select {
	case bus = <-answer:
		return bus
	case <-ctx.Done():
	}
	const grace = time.Second // for one transfer to fail and return
	select {
	case bus = <-answer:
	case <-time.After(grace):
		bus.Err = fmt.Errorf("the kernel does not come back from it: %w (is its adapter stuck? unplug it, or restart)",
			ctx.Err())
	}
	return bus
}
