package host

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Identities records which hardware each name of the configuration meant when it was first used.
// The kernel may give the numbers in names such as `1-0044`, `i2c-11` and `gpiochip1` to other
// hardware when a bus or a device comes back; a stream must stay with its hardware. The zero value
// is ready. It is safe for concurrent use.
type Identities struct {
	mu   sync.Mutex
	held map[string]Identity // by name; guarded by mu
}

// An Identity is a piece of hardware.
type Identity struct {
	Stable string // identifies it after it was removed and came back; empty: unknown
	Shown  string // for messages
}

// Lookup returns the hardware that a name meant, if it was used before.
func (k *Identities) Lookup(name string) (was Identity, known bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was, known = k.held[name]
	return was, known
}

// Confirm returns an error if a name now means other hardware than before. The first use of a name
// records its hardware. Unknown hardware (is.Stable is empty) counts as the same.
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
	// stableNames matches names whose numbers say where the device is: a USB port, a PCI slot,
	// an address of the SoC or of the device tree, a 1-wire id.
	stableNames = regexp.MustCompile(`^([0-9]+-[0-9]+(\.[0-9]+)*(:[0-9]+\.[0-9]+)?|` +
		`[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|` +
		`[0-9a-f]{3,}\..*|.*@.*|[0-9a-f]{2}-[0-9a-f]{12})$`)
	digitRun = regexp.MustCompile(`[0-9]+`)
)

// StablePath returns the path of a device's hardware without the numbers that the kernel assigns in
// order of arrival. It stays the same if the device is plugged into the same place again, or bound
// again. i2c-11/11-0044 becomes ic-/-0044.
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

// WithoutDigits returns a name without its digits.
func WithoutDigits(name string) string { return digitRun.ReplaceAllString(name, "") }
