package sysfs

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/holdfast-iot/holdfast/sensors/drivers/driver"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// underVoltageSeen is the bit of get_throttled for a supply that fell below 4.63 V since the board
// started.
const underVoltageSeen = 1 << 16

// UnderVoltage reports whether the supply is below 4.63 V now, and whether it was since the board
// started. Both are false on a board without such a sensor. hwmon knows only the last 2 s.
//
// With history it also queries the firmware. An older kernel logs a trace at the first such query.
func UnderVoltage(h *driver.Hardware, history bool) (now, seen bool, err error) {
	// the pattern is fixed
	files, _ := filepath.Glob(filepath.Join(h.Sys, "class", "hwmon", "hwmon*", "in0_lcrit_alarm"))
	for _, file := range files {
		if host.ReadPrintable(filepath.Join(filepath.Dir(file), "name")) == "rpi_volt" {
			now = host.ReadPrintable(file) == "1"
		}
	}
	if !history {
		return now, now, nil
	}
	bits, err := (&board{hw: h}).getThrottled()
	if errors.Is(err, os.ErrNotExist) {
		return now, now, nil
	}
	now = now || bits&underVoltage != 0
	return now, now || bits&underVoltageSeen != 0, err
}
