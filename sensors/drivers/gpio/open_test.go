package gpio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// Chips of a Raspberry Pi 4 and its neighbours, shortened.
func lines(n int, named map[int]string) []LineInfo {
	all := make([]LineInfo, n)
	for offset, name := range named {
		all[offset].Name = name
	}
	return all
}

var (
	soc = Chip{"/dev/gpiochip0", "gpiochip0", "pinctrl-bcm2711",
		lines(58, map[int]string{2: "SDA1", 4: "GPIO_GCLK", 17: "GPIO17"})}
	expander = Chip{"/dev/gpiochip1", "gpiochip1", "raspberrypi-exp-gpio",
		lines(8, map[int]string{0: "BT_ON", 5: "GPIO4"})}
	second = Chip{"/dev/gpiochip2", "gpiochip2", "pcf8574",
		lines(8, map[int]string{1: "BT_ON"})}
)

func pinOf(t testing.TB, text string) Pin {
	t.Helper()
	var p Pin
	if err := p.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFindPin(t *testing.T) {
	for text, want := range map[string]string{
		"GPIO17":      "gpiochip0/17",
		"GPIO4":       "gpiochip0/4", // the SoC's, though another chip has a line of this name
		"pin3":        "gpiochip0/2",
		"gpiochip1/7": "gpiochip1/7",
		"line:SDA1":   "gpiochip0/2",
		"line:GPIO4":  "gpiochip1/5",
	} {
		at, err := pinOf(t, text).find([]Chip{soc, expander})
		if err != nil || at.String() != want {
			t.Errorf("%s is %v, %v; want %s", text, at, err, want)
		}
	}
}

func TestMissingPinErrorListsTheChips(t *testing.T) {
	for _, text := range []string{"line:DOOR", "gpiochip1/8", "gpiochip9/0"} {
		_, err := pinOf(t, text).find([]Chip{soc, expander})
		if !errors.Is(err, errNoLine) {
			t.Fatalf("%s: %v", text, err)
		}
		for _, want := range []string{"gpiochip0 (pinctrl-bcm2711, 58 lines)", "gpiochip1 (raspberrypi-exp-gpio",
			"SDA1"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v: no %q", text, err, want)
			}
		}
	}
	if _, err := pinOf(t, "GPIO17").find([]Chip{expander}); !errors.Is(err, errNoLine) {
		t.Errorf("an expander's line was taken for the SoC's: %v", err)
	}
}

func TestNameOnTwoLinesIsNotGuessed(t *testing.T) {
	_, err := pinOf(t, "line:BT_ON").find([]Chip{soc, expander, second})
	if err == nil || !strings.Contains(err.Error(), "gpiochip1/0 or gpiochip2/1") {
		t.Fatal(err)
	}
}

func TestChipIsFoundThroughTheLinkOfAPi5(t *testing.T) {
	dev := t.TempDir()
	if err := os.Symlink("gpiochip0", filepath.Join(dev, "gpiochip4")); err != nil {
		t.Fatal(err)
	}
	rp1 := Chip{filepath.Join(dev, "gpiochip0"), "gpiochip0", "pinctrl-rp1", lines(54, nil)}
	at, err := pinOf(t, "gpiochip4/17").find([]Chip{rp1})
	if err != nil || at.String() != "gpiochip0/17" {
		t.Fatal(at, err)
	}
}

func TestBusyLineNamesWhoHoldsIt(t *testing.T) {
	for holder, want := range map[string]string{
		"spi0 CS1":                        `held by "spi0 CS1"`,
		"":                                "gpioinfo",
		fmt.Sprint("agent@", os.Getpid()): "another sensor",
	} {
		c := Chip{Name: "gpiochip0", Lines: []LineInfo{{Name: "GPIO0", Consumer: holder}}}
		err := Place{c, 0}.explain(syscall.EBUSY)
		if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", holder, err)
		}
	}
}

func TestNoGPIOChipSaysWhatToDo(t *testing.T) {
	h := &host.Host{Dev: t.TempDir()}
	_, err := Open(h, pinOf(t, "GPIO17"), Request{Pull: PullUp})
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "GPIO17: no ") ||
		!strings.Contains(err.Error(), "--device") {
		t.Fatal(err)
	}
}

func TestErrnoIsRestoredFromPeriphText(t *testing.T) {
	if err := errnoOf(errors.New(syscall.ENODEV.Error())); !errors.Is(err, syscall.ENODEV) {
		t.Error(err)
	}
	if err := errnoOf(nil); err != nil {
		t.Error(err)
	}
	if other := errors.New("something else"); errnoOf(other) != other {
		t.Error("changed what it does not know")
	}
}

func TestLogFilterDropsOnlyGPIO(t *testing.T) {
	var out strings.Builder
	w := withoutGPIO{&out}
	fmt.Fprint(w, "gpioioctl.driverGPIO.Init() Error")
	fmt.Fprint(w, "the queue is full")
	if out.String() != "the queue is full" {
		t.Error(out.String())
	}
}

func TestGPIONumberIsALineNameOnOtherBoards(t *testing.T) {
	pin := Pin{form: onSoC, offset: 17}
	chips := []Chip{{Path: "/dev/gpiochip0", Name: "gpiochip0", Label: "9030000.pl061",
		Lines: []LineInfo{{Name: "GPIO27"}, {Name: "GPIO17"}}}}
	if at, err := pin.find(chips); err != nil || at.Offset != 1 {
		t.Errorf("found at %v, %v; want the line that is called GPIO17", at.Offset, err)
	}
}

func TestChipOfTheSoCIsKnownByItsLabel(t *testing.T) {
	for label, soc := range map[string]bool{"pinctrl-bcm2835": true, "pinctrl-rp1": true,
		"raspberrypi-exp-gpio": false} {
		if c := (Chip{Label: label}); c.IsSoC() != soc {
			t.Errorf("%s: %v, want %v", label, c.IsSoC(), soc)
		}
	}
}

// TestChipsAreReadInTheOrderOfTheirNumbers: with eleven chips the order of their
// names is another one, and the first error would be that of gpiochip10.
func TestChipsAreReadInTheOrderOfTheirNumbers(t *testing.T) {
	h := &host.Host{Dev: t.TempDir()}
	for _, n := range []int{10, 2, 0} {
		if err := os.WriteFile(fmt.Sprintf("%s/gpiochip%d", h.Dev, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, broken := Chips(h)
	if len(all) != 0 || len(broken) != 3 {
		t.Fatalf("%v, %v; want three errors about files that are not chips", all, broken)
	}
	for i, n := range []int{0, 2, 10} {
		if want := fmt.Sprintf("gpiochip%d: is it a GPIO chip?", n); !strings.Contains(broken[i].Error(), want) {
			t.Errorf("error %d: %v, want %q", i, broken[i], want)
		}
	}
}
