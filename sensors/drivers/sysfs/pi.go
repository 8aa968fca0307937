package sysfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/kernel"
	"golang.org/x/sys/unix"
)

// piOptions are the options of kind pi: the board itself.
type piOptions struct {
	// what to read: temperature, undervoltage, throttled, disk_free, uptime
	Chosen []string `yaml:"quantities"`
	// a folder on the file system whose free space is disk_free
	Path string `yaml:"path"`
}

// newPi has the quantities that every Raspberry Pi supports with any kernel. throttled is not one of
// them: only the kernel of Raspberry Pi OS has it, and logs a warning with a trace at the first read
// (get_throttled is "deprecated").
func newPi() driver.Options {
	return &piOptions{Chosen: []string{"temperature", "undervoltage", "disk_free", "uptime"}, Path: "/"}
}

// A piQuantity is a quantity of the board, and how to read it.
type piQuantity struct {
	sensors.Quantity
	read func(*board) (float64, error)
}

// problemState is a quantity of Home Assistant's class problem: 0 is ok, 1 a problem.
func problemState(name string) sensors.Quantity {
	return sensors.Quantity{Name: name, Class: "problem", States: []string{"ok", "problem"}}
}

// piQuantities are read separately: if a board does not support one, the others still work.
var piQuantities = map[string]piQuantity{
	"temperature":  {driver.Temperature, (*board).temperature},
	"undervoltage": {problemState("undervoltage"), (*board).undervoltage},
	"throttled":    {problemState("throttled"), (*board).throttled},
	"disk_free":    {sensors.Quantity{Name: "disk_free", Unit: "%"}, (*board).diskFree},
	"uptime":       {sensors.Quantity{Name: "uptime", Unit: "s", Class: "duration"}, (*board).uptime},
}

// Check does not know which quantities this board supports: Next reports that.
func (o *piOptions) Check() (problems []driver.Problem) {
	if len(o.Chosen) == 0 {
		problems = append(problems, driver.Problemf("quantities",
			"is empty: leave it out, or write e.g. [temperature, disk_free]"))
	}
	seen := map[string]bool{}
	for _, name := range o.Chosen {
		if _, ok := piQuantities[name]; !ok {
			problems = append(problems, driver.Problemf("quantities", "%q is not one of them: known are %s",
				name, strings.Join(slices.Sorted(maps.Keys(piQuantities)), ", ")))
		} else if seen[name] {
			problems = append(problems, driver.Problemf("quantities", "%s is there twice", name))
		}
		seen[name] = true
	}
	if !filepath.IsAbs(o.Path) {
		problems = append(problems, driver.Problemf("path",
			"%q is not an absolute path: write e.g. /var/lib/holdfast", o.Path))
	}
	return problems
}

// Pace is a minute, because the values change slowly. The kernel itself polls the firmware for
// under-voltage every 2 s.
func (o *piOptions) Pace() time.Duration { return 60 * time.Second }

// Quantities returns the quantities in the order of the configuration.
func (o *piOptions) Quantities() []sensors.Quantity {
	all := make([]sensors.Quantity, len(o.Chosen))
	for i, name := range o.Chosen {
		all[i] = piQuantities[name].Quantity
	}
	return all
}

// Open opens no files: each reading finds them again, because a zone or a driver may be added later
// or get another number.
func (o *piOptions) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	return &board{piOptions: o, hw: h}, nil
}

// board is the open sensor.
type board struct {
	*piOptions
	hw *driver.Hardware
}

// Next reads the chosen quantities. One that this board does not support fails separately.
func (s *board) Next(ctx context.Context) ([]sensors.Sample, error) {
	return kernel.Gather(ctx, s.Quantities(), func(i int) (float64, error) {
		name := s.Chosen[i]
		value, err := piQuantities[name].read(s)
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w; if this board has no such thing, leave %s out of quantities", err, name)
		}
		return value, err
	})
}

// temperature returns the temperature of the SoC in °C. The zone is cpu-thermal on every model since
// Linux 4.20, bcm2835_thermal before, and x86_pkg_temp on a PC.
func (s *board) temperature() (float64, error) {
	var first error
	for _, kind := range []string{"cpu-thermal", "bcm2835_thermal", "x86_pkg_temp"} {
		zone, err := kernel.Thermal.Open(&s.hw.Host, kind, "")
		if err == nil {
			defer zone.Close()
			return zoneTemperature(zone)
		}
		first = cmp.Or(first, err)
	}
	return 0, first
}

// Bits of get_throttled for the current state. Bits from 16 up say what has happened since the last
// query; the kernel queries the firmware every 2 s.
const (
	underVoltage  = 1 << 0 // below 4.63 V
	frequencyCut  = 1 << 1
	throttledDown = 1 << 2
	softTempLimit = 1 << 3
	slowedAnyhow  = frequencyCut | throttledDown | softTempLimit
	// path by driver, which is the same on every model
	firmwareDriver = "bus/platform/drivers/raspberrypi-firmware/*/get_throttled"
)

// undervoltage returns 1 if the supply fell below 4.63 V in the last 2 s. It reads hwmon (rpi_volt),
// or get_throttled on older kernels.
func (s *board) undervoltage() (float64, error) {
	volt, err := kernel.Hwmon.Open(&s.hw.Host, "rpi_volt", "")
	if err == nil {
		defer volt.Close()
		return alarm(volt, "in0_lcrit_alarm")
	}
	// Older kernels have no rpi_volt, but the firmware's bits.
	bits, older := s.getThrottled()
	if older != nil {
		return 0, err
	}
	return boolean(bits&underVoltage != 0), nil
}

// throttled returns 1 while the firmware slows the processor because of heat or low voltage.
func (s *board) throttled() (float64, error) {
	bits, err := s.getThrottled()
	return boolean(bits&slowedAnyhow != 0), err
}

// getThrottled returns the firmware's bits, which the kernel writes in hexadecimal.
func (s *board) getThrottled() (uint64, error) {
	files, _ := filepath.Glob(filepath.Join(s.hw.Sys, firmwareDriver)) // the pattern is fixed
	if len(files) == 0 {
		return 0, fmt.Errorf("throttled: this kernel does not tell: %w", os.ErrNotExist)
	}
	text, err := host.ReadLine(files[0])
	if err != nil {
		return 0, err
	}
	bits, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %.40q is not a hexadecimal number", files[0], text)
	}
	return bits, nil
}

// diskFree returns the free part of the space that is available to users, in %: 100 minus the Use%
// of df. If the disk is not mounted any more, it returns an error and not the free space of the file
// system below.
func (s *board) diskFree() (float64, error) {
	at, err := mountPoint(s.Path)
	if err != nil {
		return 0, fmt.Errorf("disk_free: %w", err)
	}
	if err := s.hw.Known.Confirm("disk_free of "+s.Path,
		host.Identity{Stable: at, Shown: "the file system at " + at}); err != nil {
		return 0, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.Path, &fs); err != nil {
		return 0, fmt.Errorf("disk_free of %s: %w", s.Path, err)
	}
	return freePercent(fs.Blocks, fs.Bfree, fs.Bavail)
}

// mountPoint returns the top folder of the file system of a path.
func mountPoint(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	var at, above unix.Stat_t
	if err := unix.Stat(path, &at); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	for path != "/" {
		up := filepath.Dir(path)
		if err := unix.Stat(up, &above); err != nil {
			return "", &os.PathError{Op: "stat", Path: up, Err: err}
		}
		if above.Dev != at.Dev {
			break
		}
		path = up
	}
	return path, nil
}

// freePercent does not count the blocks that are reserved for root: for a user the file system is
// full before they are used.
func freePercent(blocks, free, available uint64) (float64, error) {
	used := blocks - free
	if used+available == 0 {
		return 0, errors.New("disk_free: this file system has no size")
	}
	return math.Round(float64(available)/float64(used+available)*1000) / 10, nil
}

// uptime returns the uptime of the kernel in s.
func (s *board) uptime() (float64, error) {
	path := filepath.Join(s.hw.Proc, "uptime")
	text, err := host.ReadLine(path)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(text, " ")
	seconds, err := kernel.Decimal(first)
	if err != nil || seconds < 0 {
		return 0, fmt.Errorf("%s: %.40q has no uptime", path, text)
	}
	return math.Floor(seconds), nil
}

// alarm reads a file of hwmon that contains 0 or 1.
func alarm(d *kernel.Device, file string) (float64, error) {
	text, err := d.ReadLine(file)
	if err != nil {
		return 0, err
	}
	if text != "0" && text != "1" {
		return 0, fmt.Errorf("%s: %.40q is neither 0 nor 1", d.Path(file), text)
	}
	return boolean(text == "1"), nil
}

// boolean returns 1 for true and 0 for false.
func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s *board) Close() error { return nil }
