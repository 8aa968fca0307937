package host

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Identities are the pieces of hardware that the names of the configuration stood
// for when they were first used. Numbers of the kernel, as in `1-0044`, `i2c-11`
// and `gpiochip1`, go to other hardware when a bus or a device comes back; a stream
// must not. The zero value is ready, and it is safe for concurrent use.
type Identities struct {
	mu   sync.Mutex
	held map[string]Identity // by name; guarded by mu
}

// An Identity is a piece of hardware.
type Identity struct {
	Stable string // what stays the same when it goes and comes back; empty: not known
	Shown  string // for a person
}

// Lookup returns the hardware that a name stood for, if it was used before.
func (k *Identities) Lookup(name string) (was Identity, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was, known = k.held[name]
	return was, known
}

// Confirm checks that a name stands for the hardware that it stood for before; the
// first use of a name records its hardware. Hardware that is not known (is.Stable
// is empty) is taken for the same.
func (k *Identities) Confirm(name string, is Identity) error {
	if is.Stable == "" {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if was, known := k.held[name]; known && was.Stable != is.Stable {
		return fmt.Errorf("%s: was %s and is now %s: if it was moved, reload the configuration (SIGHUP)",
			name, was.Shown, is.Shown)
	}
	if k.held == nil {
		k.held = map[string]Identity{}
	}
	k.held[name] = is
	return nil
}

// Forget forgets every name: see [Host.Forget].
func (k *Identities) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.held)
}

var (
	i2cClient = regexp.MustCompile(`^[0-9]+-([0-9a-f]{4})$`) // adapter and address
	spiDevice = regexp.MustCompile(`^spi[0-9]+\.([0-9]+)$`)  // controller and chip select
	// stableNames are the names of devices whose numbers are where they are: a port of
	// USB, a place on PCI, an address of the SoC or of the device tree, a 1-wire id.
	stableNames = regexp.MustCompile(`^([0-9]+-[0-9]+(\.[0-9]+)*(:[0-9]+\.[0-9]+)?|` +
		`[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|` +
		`[0-9a-f]{3,}\..*|.*@.*|[0-9a-f]{2}-[0-9a-f]{12})$`)
	digitRun = regexp.MustCompile(`[0-9]+`)
)

// StablePath is the path of a device's hardware without the numbers that the
// kernel gives in the order of arrival: a device that is plugged into the same
// place again, or bound anew, has the same. i2c-11/11-0044 becomes ic-/-0044.
func StablePath(path string) string {
	elements := strings.Split(path, "/")
	before := ""
	for n, e := range elements {
		switch m := i2cClient.FindStringSubmatch(e); {
		case m != nil:
			elements[n] = "-" + m[1]
		case spiDevice.MatchString(e):
			elements[n] = "spi." + spiDevice.FindStringSubmatch(e)[1]
		case before == "platform" || stableNames.MatchString(e):
		default:
			elements[n] = WithoutDigits(e)
		}
		before = e
	}
	return strings.Join(elements, "/")
}

// WithoutDigits is a name without its numbers.
func WithoutDigits(name string) string { return digitRun.ReplaceAllString(name, "") }
