package scan

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/holdfast-iot/holdfast/sensors/scan"
)

// text formats findings in columns. It ends with a line break. Text from the hardware is
// not changed here: the writer that prints it makes it safe for a terminal.
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

// trimLines removes the trailing white space of rows with an empty last column, which
// editors and tests report as a mistake.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// gpioText lists the chips with their lines, and counts the lines that are not listed.
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

// isListed is false for the lines of the SoC that are not on the header.
func isListed(c scan.Chip, l scan.Line) bool {
	const smallChip = 32 // all lines of an expander are shown
	return l.Used || l.Header != 0 || !c.SoC && len(c.Lines) <= smallChip
}

// pinText is the name of a line, with its pin of the header if it has one.
func pinText(l scan.Line) string {
	if l.Header != 0 {
		return fmt.Sprintf("%s (pin %d)", l.Pin, l.Header)
	}
	return l.Pin
}

// lineText is the present setting of a line: the direction, then the bias if the kernel
// reports one.
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

// holderText tells whether a line is free, or who holds it. Holder is the name that the
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

// i2cText lists the buses with the parts that answer. If no part answers on a bus it prints
// what to check: that is common at a first attempt.
func i2cText(w *tabwriter.Writer, f findings) {
	fmt.Fprintf(w, "\nI2C\n")
	printError(w, f.busesErr)
	for _, b := range f.buses {
		fmt.Fprintf(w, "  %v, %s\n", b.Bus, b.Name)
		if b.Skipped != "" { // the bus of a screen, where a write may do harm
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

// partText describes a part as far as it is known, and what can read it. A guess from the
// address alone is marked as a guess; an ID register is certain. Its parts are joined by
// semicolons, the most certain first.
func partText(p scan.Part) string {
	// A kernel driver comes first: the part cannot be read in another way then.
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

// kernelText lists the devices that the kernel reads, with their inputs and their places in
// sysfs.
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

// printError prints what could not be examined, and what to do.
func printError(w *tabwriter.Writer, err error) {
	if err != nil {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
}

// oneLine is an error on one line. Drivers join several errors with line breaks, which
// would break the columns.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
