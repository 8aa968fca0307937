// Package scan shows what is wired to the machine: as a text for a person, or
// as a `sensors:` section to paste.
//
// Package sensors/scan finds it, and changes nothing by it. A bus that hangs costs itself
// alone, and a bounded time.
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

// busTime is what one bus may take. A healthy one takes tenths of a second, and
// one on which every second address times out twenty.
const busTime = 30 * time.Second

// Options are what to show, and where. Out gets everything in one write, when the look
// is over.
type Options struct {
	YAML bool // stanzas to paste, in place of a text
	Out  io.Writer
}

// errBlind is a machine of which nothing could be looked at.
var errBlind = errors.New("nothing could be looked at")

// Run looks at a machine and shows what is there. It fails when nothing at all
// could be looked at, or ctx ended.
//
// A part that could not be looked at is not an error of Run: what is shown says so in
// its place. It blocks for busTime and a little more at most.
func Run(ctx context.Context, h *drivers.Hardware, o Options) error {
	// What was found until then is not shown: it would look complete.
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
	if found.blind() { // the errors are in what was shown
		return errBlind
	}
	return nil
}

// findings are what hangs on a machine, and why it is not known what does. Nothing is
// added after look has returned.
type findings struct {
	chips    []scan.Chip    // GPIO
	chipsErr error          // why chips may lack some
	buses    []scan.Adapter // I2C; each has an error of its own
	busesErr error          // why buses may lack some
	kernel   []subsystem    // what the kernel measures
}

// A subsystem is a part of the kernel that measures by itself.
type subsystem struct {
	name    string        // "hwmon"
	title   string        // for a person
	devices []scan.Device // what was found
	err     error         // why nothing was
}

// devices are those of one subsystem by its name.
func (f findings) devices(subsystem string) []scan.Device {
	for _, s := range f.kernel {
		if s.name == subsystem {
			return s.devices
		}
	}
	return nil
}

// blind reports whether every look failed: then the answer is no answer. One part
// that could be looked at and has nothing is a result.
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

// look looks at everything. An error of one part does not keep it from the others, and
// is shown in its place. It reads sysfs and the device files, and sends on I2C buses
// only.
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
		// A part of the kernel without devices has no folder, which is no error; no
		// sysfs at all is one, as in a container.
		devices, err := s.scan(h)
		if _, gone := os.Stat(h.Sys); gone != nil && err == nil {
			err = fmt.Errorf("sysfs is not there: %w", gone)
		}
		f.kernel = append(f.kernel, subsystem{s.name, s.title, devices, err})
	}
	return f
}

// askAll looks all buses over at the same time. One that does not come back in
// time, as from a driver of the kernel that hangs, is left behind: its goroutine ends with
// the program.
func askAll(ctx context.Context, buses []scan.Adapter,
	ask func(context.Context, scan.Adapter) scan.Adapter) []scan.Adapter {
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	// Each channel has room for its answer, so that a late one does not block.
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

// await takes an answer; one that comes as the time is over counts.
func await(ctx context.Context, bus scan.Adapter, answer <-chan scan.Adapter) scan.Adapter {
	select {
	case bus = <-answer:
		return bus
	case <-ctx.Done():
	}
	const grace = time.Second // one transfer, and its error on its way
	select {
	case bus = <-answer:
	case <-time.After(grace):
		bus.Err = fmt.Errorf("the kernel does not come back from it: %w (is its adapter stuck? unplug it, or restart)",
			ctx.Err())
	}
	return bus
}
