package scan

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/scan"
)

// yaml is a `sensors:` section of the findings. Each stanza was checked like `holdfast
// check`, together with those before it; one that does not pass becomes a comment.
//
// The order is fixed, so that two scans of one machine give the same text: first parts of
// the buses, then the kernel's devices, then free lines. thermal comes after hwmon because
// hwmon may have the same zone.
func yaml(f findings) string {
	s := &section{}
	s.comment("What holdfast scan found. Rename the sensors as you like: their names become the streams'.")
	s.errors(f)
	for _, b := range f.buses {
		for _, p := range b.Parts {
			s.part(b.Bus, p)
		}
	}
	for _, d := range f.devices("w1") {
		s.oneWire(d)
	}
	for _, d := range f.devices("iio") {
		s.iio(d)
	}
	for _, d := range f.devices("hwmon") {
		s.hwmon(d)
	}
	for _, d := range f.devices("thermal") {
		s.thermal(d, f.devices("hwmon"))
	}
	s.never()
	s.contacts(f.chips)
	s.relay(f.chips)
	return "sensors:\n" + s.text.String()
}

// section is a sensors section being written. passed has the stanzas without comments, so
// that comments need not be parsed each time.
type section struct {
	text   strings.Builder // the stanzas and comments
	passed strings.Builder // the stanzas without comments
	names  []string        // of the stanzas
}

// comment writes lines after a #. args may contain text from the hardware: line ends in it
// cannot end the comment.
func (s *section) comment(format string, args ...any) {
	// Errors of drivers may have several lines.
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		s.text.WriteString("  # " + strings.Map(fit, line) + "\n")
	}
}

// fit drops characters that YAML treats as line ends or does not allow. Go treats Unicode
// line separators as not printable, so they are dropped too.
func fit(r rune) rune {
	if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
		return -1
	}
	return r
}

// add writes the first stanza that passes the check, for one sensor, with the wanted name
// or one like it. If none passes it writes a comment.
//
// bodies are the keys of the stanzas without the braces, the preferred one first. It
// reports whether a stanza was written.
func (s *section) add(name string, bodies ...string) bool {
	// The check includes the stanzas before this one: two may claim the same device, or make
	// the same stream.
	for _, body := range bodies {
		for _, name := range s.free(name) {
			stanza := fmt.Sprintf("  %s: {%s}\n", name, body)
			if passes(s.passed.String() + stanza) {
				s.text.WriteString(stanza)
				s.passed.WriteString(stanza)
				s.names = append(s.names, name)
				return true
			}
		}
	}
	if len(bodies) > 0 { // a key is missing that only the user knows
		s.comment("%s: {%s}   # not whole: see docs/sensors.md", name, bodies[0])
	}
	return false
}

// free returns two names like the wanted one that no sensor has. The second is tried if the
// streams of the first collide with those of another sensor. Both are valid names of
// sensors: letters, digits, _ and -, and at most 40 characters before the number.
func (s *section) free(want string) (names []string) {
	want = strings.Trim(unfit.ReplaceAllString(want, "_"), "_-")
	want = want[:min(len(want), 40)]
	if want == "" || want == "agent" { // no name, or a reserved one
		want = "sensor"
	}
	for n := 1; len(names) < 2; n++ {
		name := want
		if n > 1 {
			name = fmt.Sprintf("%s_%d", want, n)
		}
		if !slices.Contains(s.names, name) {
			names = append(names, name)
		}
	}
	return names
}

// unfit matches what a sensor's name must not contain; it is replaced by an underscore.
var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// passes reports whether the check finds no error in some stanzas, indented as below the
// key sensors. It opens no device.
func passes(stanzas string) bool {
	// An embedded broker needs nothing else.
	_, err := config.Parse("scan", []byte("mqtt: {server: embedded}\nsensors:\n"+stanzas))
	return err == nil
}

// plain matches a text that needs no quotes in YAML.
var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)

// quoted is a text as a YAML value, in quotes unless it is plain in every version of YAML.
// The label of a chip may contain any bytes. YAML 1.1 reads the words of this list as
// booleans, YAML 1.2 some of them.
func quoted(text string) string {
	if plain.MatchString(text) &&
		!slices.Contains([]string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(text)) {
		return text
	}
	return strconv.QuoteToASCII(text)
}

// quotedList is a YAML list of texts.
func quotedList(texts []string) string {
	all := make([]string, len(texts))
	for i, t := range texts {
		all[i] = quoted(t)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// errors writes comments about what could not be examined, because the section must not
// look complete when it is not.
func (s *section) errors(f findings) {
	for _, err := range []error{f.chipsErr, f.busesErr} {
		if err != nil {
			s.comment("%v", err)
		}
	}
	for _, b := range f.buses {
		if b.Err != nil {
			s.comment("%v: %s", b.Bus, oneLine(b.Err))
		}
	}
	for _, k := range f.kernel {
		if k.err != nil {
			s.comment("%s: %s", k.title, oneLine(k.err))
		}
	}
}

// part writes the most likely kind of a part that answers, and only one: two sensors on one
// address would interfere. bus is where the part was found; the address is hexadecimal, as
// in data sheets.
func (s *section) part(bus i2c.Bus, p scan.Part) {
	at := fmt.Sprintf("%v 0x%02x", bus, p.Address)
	switch {
	case p.Driver != "":
		s.comment("%s: %s", at, partText(p))
		return
	case len(p.Kinds) == 0:
		s.comment("%s answers: %s", at, partText(p))
		return
	case p.Says != "":
		s.comment("%s says that it is a %s.", at, p.Says)
	case len(p.Kinds) > 1:
		s.comment("%s may also be another kind: %s.", at, strings.Join(p.Kinds[1:], ", "))
	}
	bodies := make([]string, len(p.Kinds))
	for i, kind := range p.Kinds {
		bodies[i] = fmt.Sprintf(`kind: %s, i2c: "%d", address: 0x%02x`, kind, int(bus), p.Address)
	}
	// The first kind that needs no key which only the user knows.
	whole := max(0, slices.IndexFunc(bodies, func(body string) bool { return passes("  x: {" + body + "}\n") }))
	s.add(p.Kinds[whole], bodies[whole])
}

// oneWire writes a thermometer or a DS2438 of the 1-wire bus. Its name is the id for kind
// w1: family and serial number, such as 28-00000abcdef0.
func (s *section) oneWire(d scan.Device) {
	if d.Unread {
		s.comment("1-wire %s is not a thermometer: no kind reads it", d.Name)
		return
	}
	kind, name := "w1", "thermometer"
	if d.Monitor {
		kind, name = "ds2438", "ds2438"
	}
	if s.known(kind, d) {
		s.add(name, "kind: "+kind+", id: "+quoted(d.Name))
	}
}

// known reports whether this version has a kind, and writes a comment if it has not. A
// build may omit drivers.
func (s *section) known(kind string, d scan.Device) bool {
	_, ok := drivers.New(kind)
	if !ok {
		s.comment("%s %s: this version has no kind %s", kind, d.Name, kind)
	}
	return ok
}

// iio writes an IIO device. If a kind knows the part, that kind decides what to measure;
// otherwise the stanza lists the inputs that kind iio can read.
func (s *section) iio(d scan.Device) {
	if len(d.Inputs) == 0 || !s.known("iio", d) || !s.clear("iio", d) {
		return
	}
	// From the most specific kind to the one that always works.
	named := named(d)
	var bodies []string
	if _, dht := drivers.New("dht"); dht && strings.HasPrefix(d.Name, "dht11") {
		bodies = append(bodies, "kind: dht, "+named)
	}
	// Kind iio would read the kernel's temperature of it, which is wrong.
	if _, rtd := drivers.New("max31865"); rtd && strings.HasPrefix(d.Name, "max31865") {
		bodies = append(bodies, "kind: max31865, "+named)
	}
	bodies = append(bodies, "kind: iio, "+named)
	if inputs := readable(named, d.Inputs); len(inputs) > 0 {
		bodies = append(bodies, "kind: iio, "+named+", inputs: "+quotedList(inputs))
	}
	s.add(d.Name, bodies...)
}

// readable returns the inputs of a device that kind iio can read. named is the part of the
// stanza that identifies the device.
func readable(named string, inputs []string) (can []string) {
	for _, input := range inputs {
		if passes("  x: {kind: iio, " + named + ", inputs: " + quotedList([]string{input}) + "}\n") {
			can = append(can, input)
		}
	}
	return can
}

// hwmon writes a device of the kernel's hardware monitoring, with all its inputs. It leaves
// out 1-wire thermometers, which have their own kind.
func (s *section) hwmon(d scan.Device) {
	if _, w1 := drivers.New("w1"); len(d.Inputs) == 0 || w1 && d.Name == "w1_slave_temp" {
		return // it measures nothing, or oneWire has written it
	}
	if !s.clear("hwmon", d) {
		return
	}
	body := "kind: hwmon, " + named(d)
	if !slices.Equal(d.Inputs, []string{"temp1"}) {
		body += ", inputs: " + quotedList(d.Inputs)
	}
	// The Pi's own thermometer: its common name.
	name := d.Name
	if name == "cpu_thermal" {
		name = "cpu"
	}
	s.add(name, body)
}

// named identifies a device: by its name, and by its place too if another device has the
// same name.
func named(d scan.Device) string {
	if d.Option == "" { // the name is enough
		return "name: " + quoted(d.Name)
	}
	return "name: " + quoted(d.Name) + ", device: " + quoted(d.Option)
}

// clear reports whether a device can be distinguished from all others, and writes a comment
// if not: its stanza could not be opened.
func (s *section) clear(kind string, d scan.Device) bool {
	if d.Unclear != "" {
		s.comment("%s %s: %s", kind, d.Name, d.Unclear)
	}
	return d.Unclear == ""
}

// thermal leaves out a zone that hwmon has too: there the kernel uses the same name, with _
// for -.
func (s *section) thermal(d scan.Device, hwmon []scan.Device) {
	zone := strings.ReplaceAll(d.Name, "-", "_")
	if len(d.Inputs) == 0 || slices.ContainsFunc(hwmon, func(h scan.Device) bool { return h.Name == zone }) {
		return
	}
	if s.known("thermal", d) && s.clear("thermal", d) {
		s.add(zone, "kind: thermal, type: "+quoted(d.Name))
	}
}

// never writes a simulated sensor if none was found: a configuration needs at least one.
func (s *section) never() {
	if len(s.names) > 0 {
		return
	}
	// Without a sensor the check would reject the file.
	s.comment("Nothing was found that measures by itself. This one is made up, so that the file is whole and\n" +
		"can be tried; take it out when a real one is there.")
	s.add("made_up",
		`kind: simulated, wave: {quantity: temperature, unit: "°C", mean: 20, swing: 5, period: 1h}, every: 10s`)
}

// contacts writes stanzas for free lines as comments, because a scan cannot see what is
// wired to a line. A chip with more than 64 lines would fill the file, and is left out. So
// are reserved lines, which a bus or console may need.
func (s *section) contacts(chips []scan.Chip) {
	explained := false
	for _, c := range chips {
		for _, l := range c.Lines {
			if l.Used || c.SoC && l.Header == 0 || l.Reserved() || len(c.Lines) > 64 {
				continue
			}
			if !explained {
				s.comment("These lines are free; what is wired to them cannot be seen. For a switch or a reed to " +
					"ground, take off the #:")
				explained = true
			}
			where := ""
			if l.Header != 0 {
				where = fmt.Sprintf("   # pin %d", l.Header)
			}
			s.comment("contact_%s: {kind: contact, gpio: %s, pull: up, normally: closed}%s",
				unfit.ReplaceAllString(l.Pin, "_"), l.Pin, where)
		}
	}
}

// pulledUp are the lines of the header that the SoC pulls up from power on (BCM2835 ARM
// Peripherals, section 6.2), first those without another default use: GPIO4 is the 1-wire
// bus, GPIO7 and GPIO8 select parts on SPI.
var pulledUp = []string{"GPIO5", "GPIO6", "GPIO4", "GPIO8", "GPIO7"}

// relay writes a stanza of an output as a comment, because a scan cannot see what is wired
// to a line. Most relay boards are active low, so they stay off on a line that is pulled up
// before any program runs.
func (s *section) relay(chips []scan.Chip) {
	free := map[string]int{} // the pin of the header
	for _, c := range chips {
		for _, l := range c.Lines {
			if c.SoC && !l.Used && l.Header != 0 {
				free[l.Pin] = l.Header
			}
		}
	}
	for _, line := range pulledUp {
		if free[line] == 0 {
			continue
		}
		fmt.Fprintf(&s.text, "# For a siren at a relay board that is active low (docs/wiring.md), take off the #:\n"+
			"# outputs:\n#   siren: {gpio: %s, active: low, class: siren, max_on: 3m}   # pin %d\n", line, free[line])
		return
	}
}
