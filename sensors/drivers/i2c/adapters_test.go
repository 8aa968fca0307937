package i2c

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c"
)

// adapters is a machine whose I2C adapters come and go. Each has a part whose
// register returns the number of its adapter.
type adapters struct {
	t  testing.TB
	h  *busRig
	on map[string]byte // answer of the part on an adapter, by the adapter's hardware
}

func newAdapters(t testing.TB, on map[string]byte) *adapters {
	a := &adapters{t: t, h: &busRig{Host: host.Host{Dev: "/dev", Sys: t.TempDir()}}, on: on}
	a.h.OpenBus = func(path string) (i2c.BusCloser, error) {
		dir, err := filepath.EvalSymlinks(filepath.Join(a.h.Sys, "bus", "i2c", "devices", filepath.Base(path)))
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
		}
		hardware, err := filepath.Rel(filepath.Join(a.h.Sys, "devices"), filepath.Dir(dir))
		return i2cfake.Reading(a.on[hardware]), err
	}
	return a
}

// plug gives adapters their numbers: "i2c-11" to hardware and a name.
func (a *adapters) plug(numbers map[string][2]string) {
	a.t.Helper()
	devices := filepath.Join(a.h.Sys, "bus", "i2c", "devices")
	err := errors.Join(os.RemoveAll(devices), os.MkdirAll(devices, 0o700))
	for number, is := range numbers {
		dir := filepath.Join(a.h.Sys, "devices", is[0], number)
		err = errors.Join(err, os.MkdirAll(dir, 0o700), os.Symlink(dir, filepath.Join(devices, number)),
			os.WriteFile(filepath.Join(dir, "name"), []byte(is[1]+"\n"), 0o600))
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// says opens the part on a bus of the configuration and returns its answer.
func (a *adapters) says(bus Bus) (byte, error) {
	a.t.Helper()
	p, err := a.h.part(bus, 0x38)
	if err != nil {
		return 0, err
	}
	var id [1]byte
	err = p.Measure(a.t.Context(), func() error { return p.ReadRegister(0, id[:]) })
	if closing := p.Close(); closing != nil {
		a.t.Error(closing)
	}
	return id[0], err
}

func (a *adapters) want(bus Bus, want byte) {
	a.t.Helper()
	if got, err := a.says(bus); err != nil || got != want {
		a.t.Errorf("%v is the adapter %#x, %v; want %#x", bus, got, err, want)
	}
}

const (
	leftPort  = "platform/pci0000:00/usb1/1-1/1-1:1.0"
	rightPort = "platform/pci0000:00/usb1/1-2/1-2:1.0"
	soldered  = "platform/soc/fe804000.i2c"
)

// Adapters that are plugged in again in another order have each other's numbers,
// and new ones in their names.
func TestBusFollowsItsAdapter(t *testing.T) {
	a := newAdapters(t, map[string]byte{leftPort: 0xa1, rightPort: 0xb2, soldered: 0xc3})
	pi := [2]string{soldered, "bcm2835 (i2c@7e804000)"}
	a.plug(map[string][2]string{"i2c-1": pi,
		"i2c-11": {leftPort, "i2c-tiny-usb at bus 001 device 004"},
		"i2c-12": {rightPort, "i2c-tiny-usb at bus 001 device 005"}})
	a.want(1, 0xc3)
	a.want(11, 0xa1)
	a.want(12, 0xb2)
	a.plug(map[string][2]string{"i2c-1": pi,
		"i2c-11": {rightPort, "i2c-tiny-usb at bus 001 device 006"},
		"i2c-12": {leftPort, "i2c-tiny-usb at bus 001 device 007"}})
	a.want(1, 0xc3)
	a.want(11, 0xa1)
	a.want(12, 0xb2)
	a.plug(map[string][2]string{"i2c-1": pi, "i2c-11": {rightPort, "i2c-tiny-usb at bus 001 device 006"}})
	if got, err := a.says(11); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "SIGHUP") ||
		!strings.Contains(err.Error(), "1-1:1.0") {
		t.Errorf("its adapter is not plugged in, and %#x answers: %v", got, err)
	}
	a.h.Forget()
	a.want(11, 0xb2)
}

// The driver of a bus was bound again, and the bus now has the lowest free number.
func TestRebindThatChangesTheNumberIsFollowed(t *testing.T) {
	const gpio = "platform/i2c-gpio.0"
	a := newAdapters(t, map[string]byte{gpio: 0xd4})
	a.plug(map[string][2]string{"i2c-11": {gpio, "i2c-gpio0"}})
	a.want(11, 0xd4)
	a.plug(map[string][2]string{"i2c-10": {gpio, "i2c-gpio0"}})
	a.want(11, 0xd4)
	p, err := a.h.part(11, 0x38)
	if err != nil {
		t.Fatal(err)
	}
	if p.bus.current != 10 || p.String() != "i2c-11" { // what a repair unbinds, and what messages say
		t.Error(p.bus.current, p.String())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestMultiplexerChannelsAreDistinguished(t *testing.T) {
	a := newAdapters(t, map[string]byte{})
	channel := func(parent, n string) [2]string {
		return [2]string{soldered + "/i2c-" + parent, "i2c-" + parent + "-mux (chan_id " + n + ")"}
	}
	a.plug(map[string][2]string{"i2c-20": channel("1", "0"), "i2c-21": channel("1", "1")})
	for _, bus := range []Bus{20, 21} {
		if _, err := a.says(bus); err != nil {
			t.Fatal(err)
		}
	}
	a.plug(map[string][2]string{"i2c-20": channel("2", "1"), "i2c-21": channel("2", "0")})
	for bus, want := range map[Bus]Bus{20: 21, 21: 20} {
		if now, err := currentBus(&a.h.Host, bus); err != nil || now != want {
			t.Errorf("%v is %v, %v; want %v", bus, now, err, want)
		}
	}
}

func FuzzI2CBus(f *testing.F) {
	for _, s := range []string{"1", "i2c-1", "/dev/i2c-1", "", "i2c", "-1", "99999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b, again Bus
		if b.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte("/dev/" + b.String())); err != nil || again != b || b < 0 {
			t.Fatalf("%q is %v, which is %v, %v", s, b, again, err)
		}
	})
}
