package scan

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/holdfast-iot/holdfast/sensors/scan"
)

// text shows findings to a person, in columns that fit what is in them. It ends with a
// line break. Text that comes from the hardware is as it was found: what prints it
// makes it harmless for a terminal.
func text(f findings) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	gpioText(w, f)
	i2cText(w, f)
	for _, s := range f.kernel {
		kernelText(w, s)
	}
	fmt.Fprintf(w, "\nholdfast scan --yaml prints stanzas to paste.\n")
	_ = w.Flush() // into memory
	return trimLines(out.String())
}

// trimLines takes off the blanks that an empty last column leaves. Editors and tests
// take such blanks for a mistake.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// gpioText lists the chips with their lines, and counts those lines that lead
// nowhere.
func gpioText(w *tabwriter.Writer, f findings) {
	fmt.Fprintf(w, "GPIO\n")
	printError(w, f.chipsErr)
	for _, c := range f.chips {
		fmt.Fprintf(w, "  %s, %s, %d lines\n", c.Name, c.Label, len(c.Lines))
		others := 0 // lines that are not listed
		for _, l := range c.Lines {
			if !isListed(c, l) {
				others++
				continue
			}
			fmt.Fprintf(w, "    %s\t%s\t%s\t%s\n", pinText(l), l.Name, lineText(l), holderText(l))
		}
		if others > 0 {
			fmt.Fprintf(w, "    and %d more that nobody has\n", others)
		}
	}
}

// isListed leaves out the SoC's lines that lead nowhere a person could wire.
func isListed(c scan.Chip, l scan.Line) bool {
	const short = 32 // an expander's lines are all shown
	return l.Used || l.Header != 0 || !c.SoC && len(c.Lines) <= short
}

// pinText is the name of a line, with the pin of the header if it has one.
func pinText(l scan.Line) string {
	if l.Header != 0 {
		return fmt.Sprintf("%s (pin %d)", l.Pin, l.Header)
	}
	return l.Pin
}

// lineText is how a line is set at the moment. The direction comes first, then the bias
// if the kernel tells one.
func lineText(l scan.Line) string {
	direction := "input"
	if l.Output {
		direction = "output"
	}
	if l.Bias != "" {
		direction += ", " + l.Bias
	}
	return direction
}

// holderText says whether a line can be had, or who has it. Holder is the name that the
// program or driver has given to the kernel, and may be empty.
func holderText(l scan.Line) string {
	switch {
	case !l.Used:
		return "free"
	case l.Holder == "":
		return "in use"
	}
	return "held by " + l.Holder
}

// i2cText lists the buses with the parts that answer. A bus on which nobody answers
// says what to check: it is the usual sight of a first attempt.
func i2cText(w *tabwriter.Writer, f findings) {
	fmt.Fprintf(w, "\nI2C\n")
	printError(w, f.busesErr)
	for _, b := range f.buses {
		fmt.Fprintf(w, "  %v, %s\n", b.Bus, b.Name)
		if b.Skipped != "" { // a screen's bus, where a write may do harm
			fmt.Fprintf(w, "    left alone: %s\n", b.Skipped)
		}
		for _, p := range b.Parts {
			fmt.Fprintf(w, "    0x%02x  %s\n", p.Address, partText(p))
		}
		if b.Err != nil {
			fmt.Fprintf(w, "    %v\n", oneLine(b.Err))
		} else if len(b.Parts) == 0 && b.Skipped == "" {
			fmt.Fprintf(w, "    nobody answers: are the parts powered, and SDA and SCL not swapped?\n")
		}
	}
}

// partText says what a part is, as far as it can be known, and what can read it. An
// address alone is a guess, and called so; an ID register is not. The parts of it are
// joined by semicolons, in the order of what is known for certain.
func partText(p scan.Part) string {
	// What holds a part comes first: it cannot be read in another way then.
	var words []string
	switch {
	case p.Driver != "" && p.Device != "":
		return fmt.Sprintf("%s, held by the kernel's driver %s: read it from there, or take its dtoverlay out of "+
			"config.txt", p.Device, p.Driver)
	case p.Driver != "":
		return fmt.Sprintf("held by the kernel's driver %s", p.Driver)
	case p.Says != "":
		words = append(words, p.Says)
	case len(p.Kinds) > 0:
		words = append(words, "likely "+strings.Join(p.Kinds, ", or "))
	}
	if what := scan.Unreadable(p.Address); what != "" && p.Says == "" {
		words = append(words, what)
	}
	if len(p.Kinds) == 0 {
		words = append(words, "no kind reads it")
	}
	return strings.Join(words, "; ")
}

// kernelText lists the devices that the kernel reads itself, with their inputs and
// where they are in sysfs.
func kernelText(w *tabwriter.Writer, s subsystem) {
	fmt.Fprintf(w, "\n%s\n", s.title)
	printError(w, s.err)
	if len(s.devices) == 0 && s.err == nil {
		fmt.Fprintf(w, "  none\n")
	}
	for _, d := range s.devices {
		inputs := strings.Join(d.Inputs, " ")
		if inputs == "" {
			inputs = "measures nothing"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", d.Name, inputs, d.Path)
	}
}

// printError says what could not be looked at, and what to do.
func printError(w *tabwriter.Writer, err error) {
	if err != nil {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
}

// oneLine is an error in a table. Drivers join several errors with line breaks, which
// would break the columns.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
