package gpio

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

func TestDuplicateLineNameIsAnError(t *testing.T) {
	c := Chip{"/dev/gpiochip0", "gpiochip0", "pinctrl-bcm2711",
		lines(58, map[int]string{3: "DOOR", 9: "DOOR", 40: "DOOR"})}
	_, err := pinOf(t, "line:DOOR").find([]Chip{expander, c})
	if err == nil || !strings.Contains(err.Error(), "gpiochip0/3 or gpiochip0/9 or gpiochip0/40") {
		t.Error(err)
	}
	c.Label = "9030000.pl061" // GPIO17 is a name there
	c.Lines = lines(8, map[int]string{1: "GPIO17", 6: "GPIO17"})
	if _, err := pinOf(t, "GPIO17").find([]Chip{c}); err == nil ||
		!strings.Contains(err.Error(), "gpiochip0/1 or gpiochip0/6") {
		t.Error(err)
	}
}

// A chipTree is a machine's GPIO chips and their hardware.
type chipTree struct {
	t testing.TB
	h *host.Host
}

// chips gives the chips numbers in the order of their hardware.
func (c chipTree) chips(hardware ...string) (all []Chip) {
	c.t.Helper()
	devices := filepath.Join(c.h.Sys, "bus", "gpio", "devices")
	if err := os.RemoveAll(devices); err != nil {
		c.t.Fatal(err)
	}
	for n, place := range hardware {
		label, place, _ := strings.Cut(place, " ")
		name := "gpiochip" + string(rune('0'+n))
		dir := filepath.Join(c.h.Sys, "devices", place, name)
		link := filepath.Join(devices, name)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(devices, 0o700), os.Symlink(dir, link)); err != nil {
			c.t.Fatal(err)
		}
		all = append(all, Chip{"/dev/" + name, name, label, lines(8, map[int]string{2: label + "-IN"})})
	}
	return all
}

func (c chipTree) at(pin string, chips []Chip) string {
	c.t.Helper()
	at, err := Find(c.h, pinOf(c.t, pin), chips)
	if err != nil {
		return err.Error()
	}
	return at.String()
}

const (
	door   = "pcf8574 platform/soc/fe804000.i2c/i2c-1/1-0020"
	window = "pcf8574 platform/soc/fe804000.i2c/i2c-1/1-0021"
	siren  = "mcp23008 platform/soc/fe804000.i2c/i2c-1/1-0022"
)

// Expanders that are bound again in another order swap their numbers.
func TestLineStaysOnItsChip(t *testing.T) {
	c := chipTree{t, &host.Host{Sys: t.TempDir()}}
	first := c.chips(door, window, siren)
	for _, pin := range []string{"gpiochip0/1", "gpiochip1/1", "gpiochip0/7", "line:mcp23008-IN"} {
		c.at(pin, first)
	}
	second := c.chips(siren, window, door)
	for pin, want := range map[string]string{
		"gpiochip0/1": "gpiochip2/1", "gpiochip0/7": "gpiochip2/7", "gpiochip1/1": "gpiochip1/1",
		"line:mcp23008-IN": "gpiochip0/2",
	} {
		if got := c.at(pin, second); got != want {
			t.Errorf("%s is %s, want %s", pin, got, want)
		}
	}
	third := c.chips(window, siren)
	if got := c.at("gpiochip0/1", third); !strings.Contains(got, "1-0020, which is not there") {
		t.Errorf("the door's chip has gone, and its line is %s", got)
	}
	c.h.Forget()
	if got := c.at("gpiochip0/1", third); got != "gpiochip0/1" {
		t.Error(got)
	}
}

// A name that another chip has, too, does not go there when its own has gone.
func TestNameStaysOnItsChip(t *testing.T) {
	c := chipTree{t, &host.Host{Sys: t.TempDir()}}
	if got := c.at("line:pcf8574-IN", c.chips(door)); got != "gpiochip0/2" {
		t.Fatal(got)
	}
	if got := c.at("line:pcf8574-IN", c.chips(window)); !strings.Contains(got, "SIGHUP") ||
		!strings.Contains(got, "1-0020") {
		t.Errorf("it is %s", got)
	}
}

// Banks of one device are distinguished by their order, and chips without sysfs, as
// in a container, by their labels.
func TestEqualChipsAreDistinguished(t *testing.T) {
	c := chipTree{t, &host.Host{Sys: t.TempDir()}}
	const bank = "gpio-brcmstb@107d508500 platform/soc@107c000000/107d508500.gpio"
	banks := c.chips(bank, bank)
	if c.at("gpiochip0/1", banks) != "gpiochip0/1" || c.at("gpiochip1/1", banks) != "gpiochip1/1" {
		t.Error(c.at("gpiochip0/1", banks), c.at("gpiochip1/1", banks))
	}
	if got := c.at("gpiochip1/1", c.chips(door, bank, bank)); got != "gpiochip2/1" {
		t.Error(got)
	}
	c.h.Sys = t.TempDir()
	c.h.Forget()
	c.at("gpiochip1/1", []Chip{{Name: "gpiochip0", Label: "a", Lines: lines(8, nil)},
		{Name: "gpiochip1", Label: "b", Lines: lines(8, nil)}})
	if got := c.at("gpiochip1/1", []Chip{{Name: "gpiochip0", Label: "b", Lines: lines(8, nil)},
		{Name: "gpiochip1", Label: "a", Lines: lines(8, nil)}}); got != "gpiochip0/1" {
		t.Error(got)
	}
}
