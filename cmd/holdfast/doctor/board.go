package doctor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/sysfs"
)

// boardChecks check what a board reports about itself. What a board does not have or does
// not report is no fault: many boards and most cards report little.
var boardChecks = []Check{
	{"watchdog", "the hardware watchdog, which restarts a board whose kernel hangs", true,
		[]*Fault{watchdogOff}, nil, checkWatchdog},
	{"supply", "the supply voltage, as the firmware of a Raspberry Pi measures it", true,
		[]*Fault{underVoltageNow}, nil, checkSupply},
	{"supply-history", "whether the supply was too low at any time since the board started", false,
		[]*Fault{underVoltageSeen}, nil, checkSupplyHistory},
	{"outputs", "lines of the header that stay driven after their program has ended (persist_gpio_outputs)", true,
		[]*Fault{outputPersists}, nil, checkOutputs},
	{"card", "the wear of SD cards and eMMC that report it (life_time)", true,
		[]*Fault{cardWorn, cardWearing}, nil, checkCard},
	{"unit", "the systemd unit holdfast.service", false,
		[]*Fault{unitFailed, unitDisabled, unitStopped}, nil, checkUnit},
}

// betterSupply is the remedy for under-voltage, which corrupts cards long before a board
// stops. Most of the drop is in thin cables, which a stronger supply does not change.
const betterSupply = "use the supply of the board's maker and a short, thick cable, " +
	"and power USB devices by themselves"

var (
	// A warning: a node works without a watchdog until its kernel hangs. With this setting
	// systemd triggers the hardware watchdog itself: systemd-system.conf(5).
	watchdogOff = &Fault{Warning,
		"the hardware watchdog is off: a kernel that hangs stays so until somebody pulls the plug",
		"write RuntimeWatchdogSec=15 below [Manager] into /etc/systemd/system.conf.d/watchdog.conf, then sudo " +
			"systemctl daemon-reexec"}

	// Under-voltage now is an error, because writes to the card may fail. The firmware of a
	// Raspberry Pi sets its flag at 4.63 V.
	underVoltageNow  = &Fault{Error, "the supply is below 4.63 V", betterSupply}
	underVoltageSeen = &Fault{Warning, "the supply has been below 4.63 V since the board started", betterSupply}

	// Kernels for the Raspberry Pi keep a level on purpose; a siren then stays on.
	outputPersists = &Fault{Warning,
		"{pin} is driven and no program holds it: this kernel keeps the level after a program ends " +
			"(persist_gpio_outputs)",
		"write dtparam=strict_gpiod into config.txt and restart, or end the level with pinctrl set {number} ip"}

	// The card itself reports that it is worn out; before that, its replacement can be planned.
	cardWorn = &Fault{Error, "{disk} is at the end of its life: it says {says}",
		"copy what is needed, and replace it now"}
	cardWearing = &Fault{Warning, "{disk} nears the end of its life: it says {says}",
		"plan its replacement; docs/queue.md says what the queue writes"}

	// Faults of the unit. It is a warning if the unit does not run: the node may be checked
	// before its first start.
	unitFailed = &Fault{Error, "{unit} has failed ({result})",
		"journalctl -u {unit} -n 50 says why; then sudo systemctl restart {unit}"}
	unitDisabled = &Fault{Warning, "{unit} is not enabled: it does not start when the board does",
		"sudo systemctl enable --now {unit}"}
	unitStopped = &Fault{Warning, "{unit} does not run", "sudo systemctl start {unit}"}
)

// checkWatchdog reads sysfs, and asks systemd if the kernel does not report the state. A
// machine without a watchdog is no fault. If there are several, one that is active is
// enough.
func checkWatchdog(ctx context.Context, s *Site) []Finding {
	dogs, _ := filepath.Glob(filepath.Join(s.Hardware.Sys, "class", "watchdog", "watchdog*")) // the pattern is fixed
	if len(dogs) == 0 {
		return nil
	}
	known := false
	for _, dog := range dogs {
		switch host.ReadPrintable(filepath.Join(dog, "state")) {
		case "active":
			return nil
		case "inactive":
			known = true
		}
	}
	if !known {
		every, err := s.Systemctl(ctx, "show", "--property=RuntimeWatchdogUSec", "--value")
		if err != nil || every != "0" && every != "infinity" {
			return nil
		}
	}
	return []Finding{watchdogOff.at()}
}

// checkSupply reads only hwmon: a query of the firmware would write to the log of older
// kernels each time that an agent starts. A board that does not measure its supply has no
// fault.
func checkSupply(_ context.Context, s *Site) []Finding {
	if now, _, err := sysfs.UnderVoltage(s.Hardware, false); err == nil && now {
		return []Finding{underVoltageNow.at()}
	}
	return nil
}

// checkSupplyHistory leaves the present state to checkSupply. It queries the firmware,
// whose flag stays set until the next start of the board, so it does not run when the agent
// starts: see checkSupply.
func checkSupplyHistory(_ context.Context, s *Site) []Finding {
	now, _, _ := sysfs.UnderVoltage(s.Hardware, false)
	_, seen, err := sysfs.UnderVoltage(s.Hardware, true)
	if err != nil || now || !seen {
		return nil
	}
	return []Finding{underVoltageSeen.at()}
}

// checkOutputs looks for lines that a program has left driven. Only the lines of the header
// count: the firmware drives some of the others. The lines of our outputs are left driven
// at their safe level. The parameter is Y only on kernels that keep a level.
func checkOutputs(_ context.Context, s *Site) (found []Finding) {
	files, _ := filepath.Glob(filepath.Join(s.Hardware.Sys, "module", "pinctrl_*", "parameters",
		"persist_gpio_outputs"))
	if len(files) == 0 || host.ReadPrintable(files[0]) != "Y" {
		return nil
	}
	chips, _ := s.Chips() // checkGPIO reports those that cannot be opened
	ours := s.outputLines(chips)
	for _, c := range chips {
		for offset, l := range c.Lines {
			if c.IsSoC() && l.Output() && !l.Used() && gpio.HeaderPin(offset) != 0 && !ours[offset] {
				found = append(found, outputPersists.at("pin", fmt.Sprint("GPIO", offset), "number", offset))
			}
		}
	}
	return found
}

// From the health report of eMMC (JESD84-B51, section 7.4.45): a life time counts steps of
// 10 % used, from 0x01; 0x0b is beyond the end.
const (
	lifeWearing = 0x09 // 80 to 90 % used
	lifeOver    = 0x0b
)

// checkCard reads what cards report: two life times, of two kinds of memory, and the
// reserve of spare blocks (pre_eol_info: 1 normal, 2 warning, 3 urgent). The worse of the
// two life times decides. Most SD cards report nothing. A value that cannot be parsed is
// ignored.
func checkCard(_ context.Context, s *Site) (found []Finding) {
	// the pattern is fixed
	files, _ := filepath.Glob(filepath.Join(s.Hardware.Sys, "block", "*", "device", "life_time"))
	for _, file := range files {
		worst := 0
		life := host.ReadPrintable(file)
		for word := range strings.FieldsSeq(life) {
			used, err := strconv.ParseInt(word, 0, 32)
			if err == nil {
				worst = max(worst, int(used))
			}
		}
		reserve := host.ReadPrintable(filepath.Join(filepath.Dir(file), "pre_eol_info"))
		spare, _ := strconv.ParseInt(reserve, 0, 32) // 0: not reported
		fault := (*Fault)(nil)
		switch {
		case worst >= lifeOver || spare >= 3:
			fault = cardWorn
		case worst >= lifeWearing || spare == 2:
			fault = cardWearing
		default:
			continue
		}
		disk := filepath.Base(filepath.Dir(filepath.Dir(file)))
		found = append(found, fault.at("disk", "/dev/"+disk,
			"says", fmt.Sprintf("life_time %s (steps of 10 %% used), pre_eol_info %s", life, reserve)))
	}
	return found
}

// unit is the name of the unit in the packages. A unit with another name, from an
// installation by hand, is not checked.
const unit = "holdfast.service"

// checkUnit asks systemd about the unit. A machine without the unit starts holdfast in
// another way, or not at all. A failed unit is reported first, then one that does not start
// with the board; a unit that is starting or stopping has no fault.
func checkUnit(ctx context.Context, s *Site) []Finding {
	if !exists(filepath.Join(s.Run, "systemd", "system")) {
		return nil
	}
	text, err := s.Systemctl(ctx, "show", unit, "--property=LoadState,ActiveState,UnitFileState,Result")
	if err != nil && !errors.Is(err, exec.ErrNotFound) || text == "" {
		return nil
	}
	is := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		is[key] = value
	}
	switch {
	case is["LoadState"] != "loaded":
		return nil
	case is["ActiveState"] == "failed":
		return []Finding{unitFailed.at("unit", unit, "result", is["Result"])}
	case is["UnitFileState"] == "disabled":
		return []Finding{unitDisabled.at("unit", unit)}
	case is["ActiveState"] == "inactive":
		return []Finding{unitStopped.at("unit", unit)}
	}
	return nil
}
