package drivers

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// knownHardware is the hardware that the words of the configuration stood for when
// they were first used. Numbers of the kernel, as in `1-0044`, `i2c-11` and
// `gpiochip1`, go to other hardware when a bus or a device comes back; a stream
// must not.
type knownHardware struct {
	mu   sync.Mutex
	held map[string]hardwareID
}

// A hardwareID is a piece of hardware.
type hardwareID struct {
	steady string // what stays the same when it goes and comes back; empty: not known
	shown  string // for a person
}

// was is the hardware that some words stood for, if they were used before.
func (k *knownHardware) was(words string) (was hardwareID, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was, known = k.held[words]
	return was, known
}

// confirm makes sure that some words stand for the hardware that they stood for
// before, or takes note of it. Hardware that is not known is taken for the same.
func (k *knownHardware) confirm(words string, is hardwareID) error {
	if is.steady == "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if was, known := k.held[words]; known && was.steady != is.steady {
		return fmt.Errorf("%s: was %s and is now %s: if it was moved, reload the configuration (SIGHUP)", words, was.shown, is.shown)
	}
	if k.held == nil {
		k.held = map[string]hardwareID{}
	}
	k.held[words] = is
	return nil
}

// Forget lets the words of a configuration that is read again stand for any
// hardware: a person may have moved it.
func (h *Hardware) Forget() {
	h.known.mu.Lock()
	defer h.known.mu.Unlock()
	clear(h.known.held)
}

var (
	i2cClient = regexp.MustCompile(`^[0-9]+-([0-9a-f]{4})$`) // adapter and address
	spiDevice = regexp.MustCompile(`^spi[0-9]+\.([0-9]+)$`)  // controller and chip select
	// steady are the names of devices whose numbers are where they are: a port of
	// USB, a place on PCI, an address of the SoC or of the device tree, a 1-wire id.
	steady = regexp.MustCompile(`^([0-9]+-[0-9]+(\.[0-9]+)*(:[0-9]+\.[0-9]+)?|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|` +
		`[0-9a-f]{3,}\..*|.*@.*|[0-9a-f]{2}-[0-9a-f]{12})$`)
	digitRun = regexp.MustCompile(`[0-9]+`)
)

// steadyPath is the path of a device's hardware without the numbers that the
// kernel gives in the order of arrival: a device that is plugged into the same
// place again, or bound anew, has the same. i2c-11/11-0044 becomes i2c-/-0044.
func steadyPath(path string) string {
	elements := strings.Split(path, "/")
	before := ""
	for n, e := range elements {
		switch m := i2cClient.FindStringSubmatch(e); {
		case m != nil:
			elements[n] = "-" + m[1]
		case spiDevice.MatchString(e):
			elements[n] = "spi." + spiDevice.FindStringSubmatch(e)[1]
		case before == "platform" || steady.MatchString(e):
		default:
			elements[n] = digitRun.ReplaceAllString(e, "")
		}
		before = e
	}
	return strings.Join(elements, "/")
}
