package output

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	periph "periph.io/x/conn/v3/i2c"
)

// wired returns a machine with one I2C bus.
func wired(bus periph.Bus) *Hardware {
	return NewHardware(&drivers.Hardware{Host: host.Host{Dev: "/dev"}, I2C: i2c.Buses{
		OpenBus: func(string) (periph.BusCloser, error) { return i2cfake.NoClose{Bus: bus}, nil },
	}})
}

// openLine opens the line of options, with the safe level.
func openLine(t testing.TB, h *Hardware, o Options, safe bool) (outputs.Line, error) {
	t.Helper()
	if problems := o.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return h.Open(t.Context(), outputs.Spec{Line: o, Safe: safe})
}

// must opens a line, or fails the test.
func must(t testing.TB, h *Hardware, o Options, safe bool) outputs.Line {
	t.Helper()
	l, err := openLine(t, h, o, safe)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A fakePin is a GPIO line that may have a short circuit.
type fakePin struct {
	levels  []bool // what it was driven to, the request first
	shorted bool   // to ground
	closed  bool
}

func (p *fakePin) Set(high bool) error { p.levels = append(p.levels, high); return nil }

func (p *fakePin) Level() (bool, error) {
	return p.levels[len(p.levels)-1] && !p.shorted, nil
}

func (p *fakePin) Close() error { p.closed = true; return nil }

// The level of the request is that of the safe level, whatever level is active.
func TestGPIOLineIsRequestedWithItsSafeLevel(t *testing.T) {
	for _, c := range []struct{ safe, low, wantHigh bool }{
		{false, false, false}, {false, true, true}, {true, false, true}, {true, true, false},
	} {
		pin, h := &fakePin{}, wired(nil)
		h.openGPIO = func(_ gpio.Pin, high bool) (gpioLine, error) { return pin, pin.Set(high) }
		l := must(t, h, &gpioOptions{Pin: gpio.SoCPin(22), Low: c.low}, c.safe)
		if !slices.Equal(pin.levels, []bool{c.wantHigh}) {
			t.Errorf("%+v: driven %v", c, pin.levels)
		}
		if on, err := l.Get(t.Context()); on != c.safe || err != nil {
			t.Errorf("%+v: reads back %v, %v", c, on, err)
		}
		if err := l.Set(t.Context(), !c.safe); err != nil || pin.levels[1] == c.wantHigh {
			t.Errorf("%+v: %v, driven %v", c, err, pin.levels)
		}
		pin.shorted = true
		if on, _ := l.Get(t.Context()); on != c.low {
			t.Errorf("%+v: a line that is shorted to ground reads back on=%v", c, on)
		}
		if err := l.Close(); err != nil || !pin.closed || len(pin.levels) != 2 {
			t.Errorf("%+v: %v, Close drives the line: %v", c, err, pin.levels)
		}
	}
}

// A line that is in use is an error, and so is a pin that no chip has.
func TestGPIOLineErrorSaysWhy(t *testing.T) {
	h := wired(nil)
	h.Host.Dev = t.TempDir()
	_, err := openLine(t, h, &gpioOptions{Pin: gpio.SoCPin(22)}, false)
	if err == nil || !strings.Contains(err.Error(), "GPIO22") || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := h.Open(t.Context(), outputs.Spec{Line: "GPIO22"}); err == nil {
		t.Error("a line that is none is opened")
	}
}

func TestSimulatedLineStoresItsLevel(t *testing.T) {
	l := must(t, wired(nil), &simulatedOptions{Kind: "simulated"}, true)
	for _, on := range []bool{true, false, true} {
		if err := l.Set(t.Context(), on); err != nil {
			t.Error(err)
		}
		if got, err := l.Get(t.Context()); got != on || err != nil {
			t.Error(got, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// told waits until a program has written down its input.
func told(t *testing.T, path, want string) {
	t.Helper()
	var got []byte
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got, _ = os.ReadFile(path); string(got) == want {
			return
		}
	}
	t.Fatalf("the program notes %q, want %q", got, want)
}

// It runs a real shell, to check the first line that a program gets, and that its input ends before the
// program is ended.
func TestProgramGetsOnAndOffLines(t *testing.T) {
	note := filepath.Join(t.TempDir(), "told")
	o := &commandOptions{Command: []string{"/bin/sh", "-c",
		`while read x; do echo $x >>"$0"; done; echo end >>"$0"`, note}}
	l := must(t, wired(nil), o, false)
	told(t, note, "off\n")
	if err := l.Set(t.Context(), true); err != nil {
		t.Error(err)
	}
	told(t, note, "off\non\n")
	if _, err := l.Get(t.Context()); !errors.Is(err, outputs.ErrNoReadBack) {
		t.Errorf("read back: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	told(t, note, "off\non\nend\n")
}

func TestEndedProgramIsAnError(t *testing.T) {
	o := &commandOptions{Command: []string{"/bin/sh", "-c", "read x; echo no relay >&2; exit 3"}}
	l, err := openLine(t, wired(nil), o, false)
	for end := time.Now().Add(30 * time.Second); err == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err = l.Get(t.Context()); errors.Is(err, outputs.ErrNoReadBack) {
			err = nil // it still runs
		}
	}
	if err == nil || !strings.Contains(err.Error(), "sh ended with status 3: no relay") {
		t.Fatal(err)
	}
	if l != nil && l.Set(t.Context(), false) == nil {
		t.Error("a program that has ended is told something")
	}
	if _, err := openLine(t, wired(nil), &commandOptions{Command: []string{"/nowhere/at/all"}}, false); err == nil {
		t.Error("a program that is not there is started")
	}
}
