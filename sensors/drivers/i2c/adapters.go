package i2c

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// currentBus is the number that a bus of the configuration has now: the one of the
// adapter that had the configured number when it was first opened. An adapter that
// is plugged in again, or whose driver was bound anew, gets the lowest free number,
// and its old one goes to another.
func currentBus(h *host.Host, bus Bus) (Bus, error) {
	was, known := h.Known.Lookup(bus.String())
	ids, numbers := adapterIDs(h)
	// The number is the adapter's that had it before, or nothing is known to the
	// contrary: without sysfs, as in a container, numbers are all there is.
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

// confirmBus makes sure that an open bus is the adapter that it was before. While
// it is open the kernel gives its number to no other.
func confirmBus(h *host.Host, bus, now Bus) error {
	ids, _ := adapterIDs(h)
	return h.Known.Confirm(bus.String(), ids[now])
}

// adapterIDs are what tells the I2C adapters apart, by their numbers: where their
// hardware is, the channel of a multiplexer, and the order of those that are alike.
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
		// Two of one name at one place are distinguished by their order, which a driver
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

// stableName is an adapter's name without the numbers that change when it is
// plugged in again: "i2c-tiny-usb at bus 001 device 004". The channel of a
// multiplexer stays: "i2c-11-mux (chan_id 0)".
func stableName(name string) string {
	name, channel, _ := strings.Cut(name, "chan_id ")
	return host.WithoutDigits(name) + channel
}
