package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A List describes where sysfs lists devices of one type. The kernel reuses the number of a
// removed device, so a device is identified by its name, and by the path of its hardware if two
// have the same name.
type List struct {
	Kind string // "hwmon"
	Glob string // of the folders of its devices, under /sys

	names    func(dir string) []string // the names of the device in dir, one or more
	hardware func(dir string) string   // the path of its hardware, the same at each boot; dir if it has none
}

// An Entry is one device of a list, at the time of the call.
type Entry struct {
	dir      string
	names    []string // at least one
	hardware string   // the path of its hardware; empty: it has none
	nth      int      // counter from 1 of the devices with the same name and hardware
	total    int      // number of devices with the same name and hardware
}

// Entries returns the devices that sysfs lists now, ordered by number.
func (l List) Entries(sys string) (all []Entry) {
	dirs, _ := filepath.Glob(filepath.Join(sys, l.Glob)) // its only error is a bad pattern
	slices.SortFunc(dirs, host.CompareNatural)
	for _, dir := range dirs {
		e := Entry{dir: dir, names: l.names(dir), hardware: l.hardware(dir)}
		if len(e.names) == 0 {
			continue // removed since, or a device without a name
		}
		if e.hardware == dir {
			e.hardware = ""
		}
		all = append(all, e)
	}
	return all
}

// named returns the devices with a name, and sets their nth and total.
func (l List) named(all []Entry, name string) (named []Entry) {
	twins := map[string]int{}
	for _, e := range all {
		if slices.Contains(e.names, name) {
			twins[e.hardware]++
			e.nth = twins[e.hardware]
			named = append(named, e)
		}
	}
	for i := range named {
		named[i].total = twins[named[i].hardware]
	}
	return named
}

// find returns the only device with a name. device is the end of its hardware's path; if it is
// empty, any path matches.
func (l List) find(sys, name, device string) (Entry, error) {
	all := l.Entries(sys)
	named := l.named(all, name)
	var found []Entry
	for _, e := range named {
		if e.matches(device) {
			found = append(found, e)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return Entry{}, l.explainNotOne(sys, name, device, all, named, found)
}

// matches reports whether the option `device` means this device: the end of its
// hardware's path, and #2 for the second of one name at this hardware.
func (e Entry) matches(device string) bool {
	end, nth, counted := strings.Cut(device, "#")
	if counted && nth != strconv.Itoa(e.nth) {
		return false
	}
	return end == "" && !counted || e.hardware != "" && endsIn(e.hardware, end)
}

// CheckOption checks the syntax of an option `device`; empty is valid.
func CheckOption(device string) error {
	if device == "" {
		return nil
	}
	end, nth, counted := strings.Cut(device, "#")
	if n, ok := host.ParseNumber(nth); end == "" || counted && (!ok || n < 1) {
		return fmt.Errorf("%q is not the end of a path: "+
			"write e.g. 1-0044, or 1-0044#2 for the second one there", device)
	}
	return nil
}

// device returns the option `device` that selects this one of the devices with its name: the end
// of its hardware's path, at least two elements of it. It is empty if no stable property
// distinguishes the device from the others.
func (e Entry) device(named []Entry) string {
	if e.hardware == "" {
		return ""
	}
	nth := ""
	if e.total > 1 {
		nth = fmt.Sprint("#", e.nth)
	}
	elements := strings.Split(strings.TrimPrefix(e.hardware, "/"), "/")
	// The shortest end that no other device has.
	for n := min(2, len(elements)); n <= len(elements); n++ {
		device := strings.Join(elements[len(elements)-n:], "/") + nth
		others := func(other Entry) bool { return other.dir != e.dir && other.matches(device) }
		if !slices.ContainsFunc(named, others) {
			return device
		}
	}
	return ""
}

// explainNotOne returns the error if there are no or several devices with a name.
func (l List) explainNotOne(sys, name, device string, all, named, found []Entry) error {
	switch {
	case len(found) > 1:
		return l.ambiguous(name, named, found)
	case len(all) == 0:
		return fmt.Errorf("%s %s: nothing in %s: %w",
			l.Kind, name, filepath.Join(sys, filepath.Dir(l.Glob)), os.ErrNotExist)
	case device != "":
		name += " at " + device
	}
	var there []string
	for _, e := range all {
		there = append(there, strings.Join(e.names, " or "))
	}
	return fmt.Errorf("%s %s: %w (there are %s)", l.Kind, name, os.ErrNotExist, strings.Join(there, ", "))
}

// ambiguous returns an error that lists the options that select one of several devices.
func (l List) ambiguous(name string, named, found []Entry) error {
	var dirs, devices []string
	for _, e := range found {
		dirs = append(dirs, e.dir)
		if device := e.device(named); device != "" {
			devices = append(devices, device)
		}
	}
	if len(devices) == 0 {
		return fmt.Errorf("%s %s: %s have this name, and nothing that stays the same tells them apart",
			l.Kind, name, host.JoinNames(dirs))
	}
	return fmt.Errorf("%s %s: %d have this name: add device: %s",
		l.Kind, name, len(found), strings.Join(devices, " or "))
}

// endsIn reports whether a path ends in whole elements: .../i2c-11/11-0044 ends
// in 11-0044 and not in 1-0044.
func endsIn(path, end string) bool {
	return end == "" || strings.HasSuffix("/"+path, "/"+strings.TrimPrefix(end, "/"))
}

// OptionFor returns the option `device` that is needed with a name to select the device in a
// folder. It is empty if the name alone is enough.
func (l List) OptionFor(all []Entry, name, dir string) (string, error) {
	named := l.named(all, name)
	at := slices.IndexFunc(named, func(e Entry) bool { return e.dir == dir })
	switch {
	case at < 0:
		return "", fmt.Errorf("%s %s has another name for the kernel", l.Kind, name)
	case len(named) == 1:
		return "", nil
	}
	device := named[at].device(named)
	if device == "" || host.Printable(device) != device {
		return "", fmt.Errorf("%d have this name, and nothing that stays the same tells this one from the others",
			len(named))
	}
	return device, nil
}
