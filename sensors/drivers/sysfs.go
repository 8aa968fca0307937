package drivers

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A kernelList is where sysfs lists the kernel's devices of one type. Their
// numbers change from boot to boot, so a device is known by a name, and by where
// it hangs if two have the name.
type kernelList struct {
	kind  string                    // "hwmon"
	glob  string                    // under /sys
	names func(dir string) []string // what the device in dir is called, however many ways
	hangs func(dir string) string   // the path of its hardware, the same at each boot
}

// find returns the folder of the one device with a name. A device says where it
// hangs, as the end of the path; empty is anywhere.
func (l kernelList) find(sys, name, device string) (string, error) {
	dirs, _ := filepath.Glob(filepath.Join(sys, l.glob)) // the pattern is fixed
	var found, others []string
	for _, dir := range dirs {
		names := l.names(dir)
		if len(names) == 0 {
			continue // gone since, or none of ours to read
		}
		others = append(others, strings.Join(names, " or "))
		for _, n := range names {
			if n == name && endsIn(l.hangs(dir), device) {
				found = append(found, dir)
				break
			}
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return "", l.unclear(sys, name, device, found, others)
}

// unclear says why there is not one device with a name.
func (l kernelList) unclear(sys, name, device string, found, others []string) error {
	switch {
	case len(found) > 1 && l.hangs(found[0]) == found[0]:
		return fmt.Errorf("%s %s: %s have this name, and nothing that stays the same tells them apart", l.kind, name, list(found))
	case len(found) > 1:
		return fmt.Errorf("%s %s: two have this name: add device: with the end of one of their paths, %s or %s",
			l.kind, name, l.hangs(found[0]), l.hangs(found[1]))
	case len(others) == 0:
		return fmt.Errorf("%s %s: nothing in %s: %w", l.kind, name, filepath.Join(sys, filepath.Dir(l.glob)), os.ErrNotExist)
	case device != "":
		name += " at " + device
	}
	return fmt.Errorf("%s %s: %w (there are %s)", l.kind, name, os.ErrNotExist, strings.Join(others, ", "))
}

// endsIn reports whether a path ends in whole elements: .../i2c-11/11-0044 ends
// in 11-0044 and not in 1-0044.
func endsIn(path, end string) bool {
	return end == "" || strings.HasSuffix("/"+path, "/"+strings.TrimPrefix(end, "/"))
}

// linked is where the link in a device's folder leads, or the folder itself.
func linked(dir string) string {
	path, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return dir // a virtual device
	}
	return path
}

// namedIn is the names of a device whose folder has them in a file.
func namedIn(file string) func(dir string) []string {
	return func(dir string) []string {
		name, err := readLine(filepath.Join(dir, file))
		if err != nil || name == "" {
			return nil
		}
		return []string{name}
	}
}

// gather reads each quantity once. It fails as a whole only when all of them do:
// then the device has gone, or has come back under another number.
func gather(ctx context.Context, quantities []sensors.Quantity, read func(i int) (float64, error)) ([]sensors.Sample, error) {
	samples := make([]sensors.Sample, len(quantities))
	var first error
	failed := 0
	for i, q := range quantities {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		value, err := read(i)
		samples[i] = sensors.Sample{Quantity: q.Name, Value: value, Err: err}
		if err != nil {
			failed++
			first = cmp.Or(first, err)
		}
	}
	if failed == len(quantities) {
		return nil, first
	}
	return samples, nil
}

func readLine(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.TrimSpace(string(text)), err
}

// readThousandths reads what the kernel counts in thousandths: m°C, milli-percent,
// millivolts.
func readThousandths(path string) (float64, error) {
	text, err := readLine(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is no number", path, text)
	}
	return float64(n) / 1000, nil
}

var decimalForm = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,18})?$`)

// decimal is a number as the kernel writes it: -12.345000000.
func decimal(text string) (float64, error) {
	if !decimalForm.MatchString(text) {
		return 0, fmt.Errorf("%.40q is no number", text)
	}
	return strconv.ParseFloat(text, 64)
}
