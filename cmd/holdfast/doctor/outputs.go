package doctor

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/output"
)

// outputChecks check the levels of the GPIO lines of the configured outputs while no agent
// holds them. Lines of port expanders and outputs that run a command always keep their last
// state.
var outputChecks = []Check{
	{"outputs-crash", "the level of an output's line after a crash of the agent (persist_gpio_outputs)", true,
		[]*Fault{outputKept}, nil, checkCrash},
	{"outputs-boot", "the level of an output's line before the agent starts (gpio= in config.txt)", true,
		[]*Fault{outputFloats, outputBootsOn}, nil, checkBoot},
}

var (
	// A warning: the unit of the packages switches the outputs off, but other ways to start the
	// agent may not.
	outputKept = &Fault{Warning,
		"this kernel keeps the level of {outputs} when the agent crashes (persist_gpio_outputs=Y): " +
			"it takes holdfast outputs safe to end it",
		"write dtparam=strict_gpiod into config.txt and restart; the unit of the packages also runs holdfast outputs safe"}

	// An input has a weak pull-up or pull-down, which switches some relay boards.
	outputFloats = &Fault{Warning, "{output}: {pin} is an input until the agent starts",
		"write {line} into {file}: the firmware makes it an output that is off, before Linux starts"}
	outputBootsOn = &Fault{Error,
		"{output}: {file} has {pin} {has} until the agent starts, and its safe level is {safe}",
		"write {line} into {file} instead"}
)

// checkCrash reports all outputs in one finding, because they have the same remedy. The
// parameter is Y only on kernels that keep a level.
func checkCrash(_ context.Context, s *Site) []Finding {
	files, _ := filepath.Glob(filepath.Join(s.Hardware.Sys, "module", "pinctrl_*", "parameters",
		"persist_gpio_outputs")) // the pattern is fixed
	all := map[string]bool{}
	for _, spec := range s.Config.Outputs {
		if _, _, ok := output.SafeLevel(spec); ok {
			all[spec.Stream.Name] = true
		}
	}
	if len(files) == 0 || host.ReadPrintable(files[0]) != "Y" || len(all) == 0 {
		return nil
	}
	return []Finding{outputKept.at("outputs", names(all))}
}

// checkBoot reads the configuration of the Raspberry Pi's firmware. A machine without that
// file is no Raspberry Pi.
func checkBoot(_ context.Context, s *Site) (found []Finding) {
	file, text := s.bootFile()
	if file == "" || len(s.Config.Outputs) == 0 {
		return nil
	}
	levels := bootLevels(text)
	chips, _ := s.Chips() // checkGPIO reports those that cannot be opened
	for _, spec := range s.Config.Outputs {
		pin, high, ok := output.SafeLevel(spec)
		if !ok {
			continue
		}
		at, err := gpio.Find(&s.Hardware.Host, pin, chips)
		if err != nil || !at.IsSoC() {
			continue // checkGPIO reports it, or the firmware does not know the line
		}
		name, wants := spec.Stream.Name, levelWords[high]
		line := fmt.Sprintf("gpio=%d=op,%s", at.Offset, wants.key)
		switch has := levels[at.Offset]; has {
		case wants.key:
		case "":
			found = append(found, outputFloats.at("output", name, "pin", pin, "line", line, "file", file))
		default:
			found = append(found, outputBootsOn.at("output", name, "pin", pin, "line", line, "file", file,
				"has", levelWords[!high].word, "safe", wants.word))
		}
	}
	return sorted(found)
}

// outputLines are the lines of the SoC that configured outputs use.
func (s *Site) outputLines(chips []gpio.Chip) map[int]bool {
	lines := map[int]bool{}
	for _, spec := range s.Config.Outputs {
		pin, _, ok := output.SafeLevel(spec)
		if !ok {
			continue
		}
		if at, err := gpio.Find(&s.Hardware.Host, pin, chips); err == nil && at.IsSoC() {
			lines[at.Offset] = true
		}
	}
	return lines
}

// levelWords are the words for a level in config.txt and in a text.
var levelWords = map[bool]struct{ key, word string }{false: {"dl", "low"}, true: {"dh", "high"}}

// bootFile returns the path and the text of the firmware's config.txt, empty if there is
// none.
func (s *Site) bootFile() (file, text string) {
	for _, name := range []string{"firmware/config.txt", "config.txt"} {
		path := filepath.Join(s.Boot, name)
		if data, err := os.ReadFile(path); err == nil {
			return path, string(data)
		}
	}
	return "", ""
}

// bootLevels returns the levels ("dl" or "dh") of the lines that the firmware makes
// outputs, by line number. A later entry of the file replaces an earlier one. All sections
// count, because only the firmware knows which model a section is for.
func bootLevels(text string) map[int]string {
	levels := map[int]string{}
	for line := range strings.Lines(text) {
		key, rest, _ := strings.Cut(strings.TrimSpace(line), "=")
		numbers, options, _ := strings.Cut(rest, "=")
		if strings.TrimSpace(key) != "gpio" {
			continue
		}
		level, out := "", false
		for option := range strings.SplitSeq(options, ",") {
			switch option = strings.TrimSpace(option); option {
			case "op":
				out = true
			case "ip":
				out = false
			case "dl", "dh":
				level = option
			}
		}
		if !out {
			level = ""
		}
		for _, n := range bootNumbers(numbers) {
			levels[n] = level
		}
	}
	return levels
}

// bootNumbers parses "22", "22,23" and "20-23". Invalid parts are skipped.
func bootNumbers(text string) (all []int) {
	for part := range strings.SplitSeq(text, ",") {
		first, last, _ := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(cmp.Or(last, first))
		if err != nil || err2 != nil || from < 0 || to > gpio.MaxSoCNumber {
			continue
		}
		for n := from; n <= to; n++ {
			all = append(all, n)
		}
	}
	return all
}
