package gpio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// Find finds a pin among the chips that [Chips] returned. It uses the chip on which the pin was
// found first, because the number of a chip can change when an expander is added again.
func Find(h *host.Host, pin Pin, chips []Chip) (Place, error) {
	ids := chipIDs(h, chips)
	words := pin.String()
	if pin.form == onChip {
		words = pin.chip // one identity for all lines of a chip
		if was, known := h.Known.Lookup(words); known {
			i := slices.IndexFunc(chips, func(c Chip) bool { return ids[c.Name].Stable == was.Stable })
			if i < 0 {
				return Place{}, fmt.Errorf("%w: %s was %s, which is not there: there are %s",
					errNoLine, pin.chip, was.Shown, describe(chips))
			}
			pin.chip = chips[i].Name
		}
	}
	at, err := pin.find(chips)
	if err != nil {
		return Place{}, err
	}
	is := ids[at.Name]
	if pin.form != onChip {
		is = host.Identity{
			Stable: fmt.Sprint(is.Stable, "/", at.Offset),
			Shown:  fmt.Sprintf("line %d of %s", at.Offset, is.Shown),
		}
	}
	return at, h.Known.Confirm(words, is)
}

// chipIDs returns the identities of chips by their names: the driver's label, the path of the
// hardware, and a counter if several are equal otherwise, such as the two banks of the BCM2712
// of a Pi 5.
func chipIDs(h *host.Host, chips []Chip) map[string]host.Identity {
	names := make([]string, len(chips))
	labels := map[string]string{}
	for i, c := range chips {
		names[i], labels[c.Name] = c.Name, c.Label
	}
	slices.SortFunc(names, host.CompareNatural)
	ids, alike := map[string]host.Identity{}, map[string]int{}
	for _, name := range names {
		id := host.Identity{Stable: labels[name], Shown: labels[name]}
		if dir, err := filepath.EvalSymlinks(filepath.Join(h.Sys, "bus", "gpio", "devices", name)); err == nil {
			hardware := filepath.Dir(dir)
			id = host.Identity{Stable: id.Stable + " " + host.StablePath(hardware), Shown: id.Shown + " at " + hardware}
		}
		if alike[id.Stable]++; alike[id.Stable] > 1 {
			id.Stable = fmt.Sprint(id.Stable, "#", alike[id.Stable])
		}
		ids[name] = id
	}
	return ids
}

// find finds a pin among the chips. On a board without a Raspberry Pi's SoC, GPIO17 is the line
// with that name in the kernel.
func (p Pin) find(chips []Chip) (Place, error) {
	// Other and virtual boards name their lines in the same way.
	if p.form == onSoC && !slices.ContainsFunc(chips, func(c Chip) bool { return c.IsSoC() }) {
		p.form, p.name = byName, fmt.Sprint("GPIO", p.offset)
	}
	var found []Place
	for _, c := range chips {
		for _, offset := range p.offsetsOn(c) {
			found = append(found, Place{c, offset})
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Place{}, fmt.Errorf("%w on %s", errNoLine, describe(chips))
	}
	places := make([]string, len(found))
	for i, at := range found {
		places[i] = at.String()
	}
	return Place{}, fmt.Errorf("that name is on %d lines: write %s", len(found), strings.Join(places, " or "))
}

// errNoLine means that no chip has the pin.
var errNoLine = errors.New("no such line")

// offsetsOn returns the offsets of the pin on a chip: several if several lines have its name.
func (p Pin) offsetsOn(c Chip) (offsets []int) {
	switch p.form {
	case onChip:
		// The configuration may name the chip by a link.
		asked := resolve(c.Path, p.chip)
		if asked != c.Name && asked != filepath.Base(c.Path) || p.offset >= len(c.Lines) {
			return nil
		}
		return []int{p.offset}
	case onSoC:
		if !c.IsSoC() || p.offset >= len(c.Lines) {
			return nil
		}
		return []int{p.offset}
	}
	for offset, l := range c.Lines {
		if l.Name == p.name {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// IsSoC reports whether the offsets of a chip are the GPIO numbers of a Raspberry Pi:
// pinctrl-bcm2835 up to the Pi 3, pinctrl-bcm2711 on the 4, pinctrl-rp1 on the 5. The kernel's
// line names cannot be used for this, because they differ between boards and kernels: GPIO4 is
// GPIO_GCLK on some.
func (c Chip) IsSoC() bool {
	return strings.HasPrefix(c.Label, "pinctrl-bcm2") || c.Label == "pinctrl-rp1"
}

// resolve follows a link in the folder of a chip's device file: on a Pi 5, gpiochip4 is a link
// to gpiochip0.
func resolve(beside, name string) string {
	if target, err := os.Readlink(filepath.Join(filepath.Dir(beside), name)); err == nil {
		return filepath.Base(target)
	}
	return name
}

// describe lists the chips and some of their line names, for an error message.
func describe(chips []Chip) string {
	var places, names []string
	for _, c := range chips {
		places = append(places, fmt.Sprintf("%s (%s, %d lines)", c.Name, c.Label, len(c.Lines)))
		for _, l := range c.Lines {
			if len(names) < 4 && len(l.Name) > 1 {
				names = append(names, l.Name)
			}
		}
	}
	s := strings.Join(places, ", ")
	if len(names) > 0 {
		s += "; names there are " + strings.Join(names, ", ")
	}
	return s
}
