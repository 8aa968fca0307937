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

// newPi has what every Raspberry Pi tells with any kernel. throttled is left out:
// only Raspberry Pi OS's kernel tells it, and puts a warning with a trace into its
// log when it is first asked (get_throttled is "deprecated").
func newPi() driver.Options {
	return &piOptions{Chosen: []string{"temperature", "undervoltage", "disk_free", "uptime"}, Path: "/"}
}

// A piQuantity is something that the board tells of itself.
type piQuantity struct {
	sensors.Quantity
	read func(*board) (float64, error)
}

// problemState is a quantity of Home Assistant's class problem: 0 is ok, 1 a problem.
func problemState(name string) sensors.Quantity {
	return sensors.Quantity{Name: name, Class: "problem", States: []string{"ok", "problem"}}
}

// piQuantities are read one by one: a board that cannot tell one tells the others.
var piQuantities = map[string]piQuantity{
	"temperature":  {driver.Temperature, (*board).temperature},
	"undervoltage": {problemState("undervoltage"), (*board).undervoltage},
	"throttled":    {problemState("throttled"), (*board).throttled},
	"disk_free":    {sensors.Quantity{Name: "disk_free", Unit: "%"}, (*board).diskFree},
	"uptime":       {sensors.Quantity{Name: "uptime", Unit: "s", Class: "duration"}, (*board).uptime},
}

// Check knows the quantities, but not which of them this board has: Next says that.
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

// Pace is a minute: the kernel asks the firmware for under-voltage every 2 s whoever reads it,
// and free space moves slowly.
func (o *piOptions) Pace() time.Duration { return 60 * time.Second }

// Quantities are in the order of the file.
func (o *piOptions) Quantities() []sensors.Quantity {
	all := make([]sensors.Quantity, len(o.Chosen))
	for i, name := range o.Chosen {
		all[i] = piQuantities[name].Quantity
	}
	return all
}

// Open opens nothing: the files are found anew at each reading, since a zone or a driver
// may come later or get another number.
func (o *piOptions) Open(_ context.Context, h *driver.Hardware) (sensors.Sensor, error) {
	return &board{piOptions: o, hw: h}, nil
}

// board is the machine, as the sensor reads it.
type board struct {
	*piOptions
	hw *driver.Hardware
}

// Next reads what was chosen. What this board does not tell fails alone.
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

// temperature is the SoC's, in °C. The zone is cpu-thermal on every model since
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

// The bits of get_throttled that say what holds now. The kernel asks the firmware
// every 2 s; those from 16 up say what has been since it asked before.
const (
	underVoltage  = 1 << 0 // below 4.63 V
	frequencyCut  = 1 << 1
	throttledDown = 1 << 2
	softTempLimit = 1 << 3
	slowedAnyhow  = frequencyCut | throttledDown | softTempLimit
	// the same on every model, unlike the device's own path
	firmwareDriver = "bus/platform/drivers/raspberrypi-firmware/*/get_throttled"
)

// undervoltage is 1 if the supply fell below 4.63 V in the last 2 s: hwmon says so
// (rpi_volt), or an older kernel's get_throttled.
func (s *board) undervoltage() (float64, error) {
	volt, err := kernel.Hwmon.Open(&s.hw.Host, "rpi_volt", "")
	if err == nil {
		defer volt.Close()
		return alarm(volt, "in0_lcrit_alarm")
	}
	// Older kernels have no rpi_volt; the firmware's bits say the same.
	bits, older := s.getThrottled()
	if older != nil {
		return 0, err
	}
	return boolean(bits&underVoltage != 0), nil
}

// throttled is 1 while the firmware slows the processor, for heat or for want of
// voltage.
func (s *board) throttled() (float64, error) {
	bits, err := s.getThrottled()
	return boolean(bits&slowedAnyhow != 0), err
}

// getThrottled are the firmware's bits, which the kernel writes in hexadecimal
// digits.
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

// diskFree is what is free to a user of what a user may fill, in %: 100 less the
// Use% of df. A disk that is no longer mounted is an error, not what is free on the
// one below.
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

// mountPoint is the top folder of the file system that a path is on.
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

// freePercent leaves out the blocks that are kept for root: a user's file system is full
// before they are used.
func freePercent(blocks, free, available uint64) (float64, error) {
	used := blocks - free
	if used+available == 0 {
		return 0, errors.New("disk_free: this file system has no size")
	}
	return math.Round(float64(available)/float64(used+available)*1000) / 10, nil
}

// uptime is how long the kernel runs, in s.
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

// alarm is one of hwmon's files that says 0 or 1.
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

// boolean is a truth as a value: 1 is true.
func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s *board) Close() error { return nil }
