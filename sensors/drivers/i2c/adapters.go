package i2c

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// currentBus returns the current number of a bus of the configuration: that of the adapter which
// had the configured number when it was first opened. If an adapter is plugged in again, or its
// driver is bound again, the kernel gives it the lowest free number, and may give its old number
// to another one.
func currentBus(h *host.Host, bus Bus) (Bus, error) {
	was, known := h.Known.Lookup(bus.String())
	ids, numbers := adapterIDs(h)
	// The number still belongs to the same adapter, or this is not known: without sysfs, as in a
	// container, there are only numbers.
	if !known || len(ids) == 0 || ids[bus].Stable == was.Stable {
		return bus, nil
	}
	var there []string
	for _, n := range numbers {
		if ids[n].Stable == was.Stable {
			return n, nil
		}
		there = append(there, fmt.Sprintf("%v (%s)", n, ids[n].Shown))
	}
	return bus, fmt.Errorf("%v: was %s: %w (there are %s): if it was moved, reload the configuration (SIGHUP)",
		bus, was.Shown, os.ErrNotExist, strings.Join(there, ", "))
}

// confirmBus checks that an open bus is the same adapter as before. While it is open, the kernel
// does not give its number to another one.
func confirmBus(h *host.Host, bus, now Bus) error {
	ids, _ := adapterIDs(h)
	return h.Known.Confirm(bus.String(), ids[now])
}

// adapterIDs returns the identities of the I2C adapters by their numbers: the path of the
// hardware, the channel of a multiplexer, and a counter if several are equal otherwise.
func adapterIDs(h *host.Host) (ids map[Bus]host.Identity, numbers []Bus) {
	root := filepath.Join(h.Sys, "bus", "i2c", "devices")
	names, _ := host.Numbered(root, "i2c-") // without sysfs nothing is known
	ids, alike := map[Bus]host.Identity{}, map[string]int{}
	for _, name := range names {
		dir, err := filepath.EvalSymlinks(filepath.Join(root, name))
		if err != nil {
			continue // gone since
		}
		n, _ := host.ParseNumber(strings.TrimPrefix(name, "i2c-"))
		called, hardware := host.ReadPrintable(filepath.Join(dir, "name")), filepath.Dir(dir)
		id := host.Identity{Stable: host.StablePath(hardware) + " " + stableName(called),
			Shown: called + " at " + hardware}
		// Adapters with the same name and path are distinguished by their order, which the driver
		// keeps.
		if alike[id.Stable]++; alike[id.Stable] > 1 {
			id.Stable = fmt.Sprint(id.Stable, "#", alike[id.Stable])
		}
		ids[Bus(n)] = id
		numbers = append(numbers, Bus(n))
	}
	slices.Sort(numbers)
	return ids, numbers
}

// stableName returns the name of an adapter without the numbers that change when it is plugged in
// again, as in "i2c-tiny-usb at bus 001 device 004". The channel of a multiplexer is kept, as in
// "i2c-11-mux (chan_id 0)".
func stableName(name string) string {
	name, channel, _ := strings.Cut(name, "chan_id ")
	return host.WithoutDigits(name) + channel
}
