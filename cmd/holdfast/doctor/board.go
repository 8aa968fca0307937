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

// boardChecks look at what a board tells of itself. What it does not have or does not
// tell is no fault: many boards and most cards say little.
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

// betterSupply mends under-voltage, which corrupts cards long before a board stops.
// Most of the drop is in thin cables, which a stronger supply does not mend.
const betterSupply = "use the supply of the board's maker and a short, thick cable, " +
	"and power USB devices by themselves"

var (
	// A warning: a node works without, until its kernel hangs. systemd feeds the
	// hardware's watchdog itself once this is set: systemd-system.conf(5).
	watchdogOff = &Fault{Warning,
		"the hardware watchdog is off: a kernel that hangs stays so until somebody pulls the plug",
		"write RuntimeWatchdogSec=15 below [Manager] into /etc/systemd/system.conf.d/watchdog.conf, then sudo " +
			"systemctl daemon-reexec"}

	// Now is an error: writes to the card fail at such a voltage. 4.63 V is where the
	// firmware of a Raspberry Pi sets its flag.
	underVoltageNow  = &Fault{Error, "the supply is below 4.63 V", betterSupply}
	underVoltageSeen = &Fault{Warning, "the supply has been below 4.63 V since the board started", betterSupply}

	// Raspberry Pi kernels keep a level on purpose, and a siren then stays on.
	outputPersists = &Fault{Warning,
		"{pin} is driven and no program holds it: this kernel keeps the level after a program ends " +
			"(persist_gpio_outputs)",
		"write dtparam=strict_gpiod into config.txt and restart, or end the level with pinctrl set {number} ip"}

	// The card says itself when it is worn; before that it is a matter of planning.
	cardWorn = &Fault{Error, "{disk} is at the end of its life: it says {says}",
		"copy what is needed, and replace it now"}
	cardWearing = &Fault{Warning, "{disk} nears the end of its life: it says {says}",
		"plan its replacement; docs/queue.md says what the queue writes"}

	// Faults of the unit. A node that is tried before its first start has a unit that does
	// not run: a warning.
	unitFailed = &Fault{Error, "{unit} has failed ({result})",
		"journalctl -u {unit} -n 50 says why; then sudo systemctl restart {unit}"}
	unitDisabled = &Fault{Warning, "{unit} is not enabled: it does not start when the board does",
		"sudo systemctl enable --now {unit}"}
	unitStopped = &Fault{Warning, "{unit} does not run", "sudo systemctl start {unit}"}
)

// checkWatchdog asks sysfs, and systemd where the kernel does not tell. A machine
// without a watchdog has nothing to switch on. One that is active is enough; some
// boards have two.
func checkWatchdog(ctx context.Context, s *Site) []Finding {
	dogs, _ := filepath.Glob(filepath.Join(s.Hardware.Sys, "class", "watchdog", "watchdog*")) // the pattern is fixed
	if len(dogs) == 0 {
		return nil
	}
	told := false
	for _, dog := range dogs {
		switch host.ReadPrintable(filepath.Join(dog, "state")) {
		case "active":
			return nil
		case "inactive":
			told = true
		}
	}
	if !told {
		every, err := s.Systemctl(ctx, "show", "--property=RuntimeWatchdogUSec", "--value")
		if err != nil || every != "0" && every != "infinity" {
			return nil
		}
	}
	return []Finding{watchdogOff.at()}
}

// checkSupply asks hwmon alone: the firmware would leave a trace in the log of older
// kernels each time that an agent starts. A board that does not measure its supply has
// no fault.
func checkSupply(_ context.Context, s *Site) []Finding {
	if now, _, err := sysfs.UnderVoltage(s.Hardware, false); err == nil && now {
		return []Finding{underVoltageNow.at()}
	}
	return nil
}

// checkSupplyHistory leaves to checkSupply what is so now. It asks the firmware, whose
// flag stays set until the next start of the board, and so it does not run when the
// agent starts: see checkSupply.
func checkSupplyHistory(_ context.Context, s *Site) []Finding {
	now, _, _ := sysfs.UnderVoltage(s.Hardware, false)
	_, seen, err := sysfs.UnderVoltage(s.Hardware, true)
	if err != nil || now || !seen {
		return nil
	}
	return []Finding{underVoltageSeen.at()}
}

// checkOutputs looks for lines that a program has left driven. Only the lines of the
// header count: the firmware leaves some of the others so. Those of our own outputs are left
// so at their safe level. The parameter says Y only on kernels that keep a level.
func checkOutputs(_ context.Context, s *Site) (found []Finding) {
	files, _ := filepath.Glob(filepath.Join(s.Hardware.Sys, "module", "pinctrl_*", "parameters",
		"persist_gpio_outputs"))
	if len(files) == 0 || host.ReadPrintable(files[0]) != "Y" {
		return nil
	}
	chips, _ := s.Chips() // those that cannot be asked are another check's
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

// Of eMMC's health report (JESD84-B51, section 7.4.45): life times are steps of
// 10 % used, from 0x01; 0x0b is beyond the end.
const (
	lifeWearing = 0x09 // 80 to 90 % used
	lifeOver    = 0x0b
)

// checkCard reads what cards say of themselves: two life times, of two kinds of memory,
// and the reserve of spare blocks (pre_eol_info: 1 normal, 2 warning, 3 urgent). Most
// SD cards say nothing. A value that cannot be parsed counts as not said. The worse of
// the two life times decides.
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
		spare, _ := strconv.ParseInt(reserve, 0, 32) // 0: not said
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

// unit is the name that the packages give to the unit. An installation by hand may have
// another name, and is then not checked.
const unit = "holdfast.service"

// checkUnit asks systemd where it runs. A machine without the unit starts holdfast in
// another way, or not. A failed unit is named first, then what keeps it from starting
// with the board; one that is starting or stopping has no fault.
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
