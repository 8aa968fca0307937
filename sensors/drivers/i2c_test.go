package drivers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// fakeBus answers each transfer with a function and counts.
type fakeBus struct {
	tx     func(n int, addr uint16, w, r []byte) error // n counts from 0
	count  int
	closed int
}

func (b *fakeBus) Tx(addr uint16, w, r []byte) error {
	n := b.count
	b.count++
	return b.tx(n, addr, w, r)
}
func (b *fakeBus) SetSpeed(physic.Frequency) error { return nil }
func (b *fakeBus) String() string                  { return "fake" }
func (b *fakeBus) Close() error                    { b.closed++; return nil }

// failAt is a bus whose nth transfer fails.
func failAt(bus i2c.Bus, n int, err error) *fakeBus {
	return &fakeBus{tx: func(i int, addr uint16, w, r []byte) error {
		if i == n {
			return err
		}
		return bus.Tx(addr, w, r)
	}}
}

// reading is a bus on which every byte reads the same.
func reading(b byte) *fakeBus {
	return &fakeBus{tx: func(_ int, _ uint16, _, r []byte) error {
		for i := range r {
			r[i] = b
		}
		return nil
	}}
}

type noClose struct{ i2c.Bus }

func (noClose) Close() error { return nil }

// wired is hardware with one bus.
func wired(bus i2c.Bus) *Hardware {
	closer, ok := bus.(i2c.BusCloser)
	if !ok || strings.HasPrefix(bus.String(), "playback") { // whose Close is a check of its own
		closer = noClose{bus}
	}
	return &Hardware{Host: host.Host{Dev: "/dev"}, openBus: func(string) (i2c.BusCloser, error) { return closer, nil }}
}

// once opens a sensor, measures once and closes.
func once(t testing.TB, o Options, bus i2c.Bus) ([]sensors.Sample, error) {
	t.Helper()
	s, err := o.Open(t.Context(), wired(bus))
	if err != nil {
		return nil, err
	}
	samples, err := s.Next(t.Context())
	if closing := s.Close(); closing != nil {
		t.Error(closing)
	}
	return samples, err
}

// values are samples by quantity, in order.
func values(samples []sensors.Sample) (names string, all []float64) {
	for _, s := range samples {
		names += s.Quantity + " "
		all = append(all, s.Value)
	}
	return strings.TrimSpace(names), all
}

func TestBusIsUnderstoodHoweverItIsWritten(t *testing.T) {
	for _, text := range []string{"1", "i2c-1", "/dev/i2c-1"} {
		var b I2CBus
		if err := b.UnmarshalText([]byte(text)); err != nil || b != 1 {
			t.Errorf("%s: %v, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "-1", "one", "i2c1", "/dev/i2c-", "/dev/spi"} {
		var b I2CBus
		if err := b.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), `i2c: "1"`) {
			t.Errorf("%q: %v, %v", text, b, err)
		}
	}
}

func TestSensorsShareOneBusAndTheLastClosesIt(t *testing.T) {
	bus, opened := reading(0x18), 0
	h := &Hardware{Host: host.Host{Dev: "/dev"}, openBus: func(path string) (i2c.BusCloser, error) {
		if opened++; path != "/dev/i2c-1" {
			t.Error(path)
		}
		return bus, nil
	}}
	a, errA := h.openPart(1, 0x38)
	b, errB := h.openPart(1, 0x39)
	if errA != nil || errB != nil || opened != 1 {
		t.Fatal(errA, errB, opened)
	}
	if a.Close(); bus.closed != 0 {
		t.Fatal("closed while in use")
	}
	if b.Close(); bus.closed != 1 {
		t.Fatal("left open")
	}
	if _, err := h.openPart(1, 0x38); err != nil || opened != 2 {
		t.Fatal("not opened again", err, opened)
	}
}

func TestUnpluggedAdapterIsClosedAtOnceAndOpenedAfresh(t *testing.T) {
	first, second := reading(0), reading(0)
	first.tx = func(int, uint16, []byte, []byte) error { return syscall.ENODEV }
	next := []*fakeBus{first, second}
	h := &Hardware{Host: host.Host{Dev: "/dev"}, openBus: func(string) (i2c.BusCloser, error) {
		bus := next[0]
		next = next[1:]
		return bus, nil
	}}
	read := func(p *part) error {
		return p.measure(t.Context(), func() error { return p.Tx(p.addr, nil, make([]byte, 1)) })
	}
	a, _ := h.openPart(1, 0x38)
	b, _ := h.openPart(1, 0x39)
	if err := read(a); !errors.Is(err, syscall.ENODEV) || first.closed != 1 {
		t.Fatal(err, first.closed)
	}
	if err := read(b); !errors.Is(err, syscall.ENODEV) || first.count != 1 {
		t.Fatal("the other did not learn it", err, first.count)
	}
	a.Close()
	a, err := h.openPart(1, 0x38)
	if err != nil || read(a) != nil {
		t.Fatal("not opened afresh", err)
	}
	if b.Close(); second.closed != 0 {
		t.Fatal("the old user closed the new bus")
	}
	if a.Close(); second.closed != 1 || first.closed != 1 {
		t.Fatal(first.closed, second.closed)
	}
}

// The race detector sees two transfers at a time: the bus counts without a lock.
func TestTransfersOfOneBusAreOneAfterTheOther(t *testing.T) {
	bus := reading(0)
	h := wired(bus)
	var all sync.WaitGroup
	for addr := range uint16(4) {
		all.Go(func() {
			p, err := h.openPart(1, addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			for range 100 {
				if err := p.measure(t.Context(), func() error { return p.Tx(addr, []byte{0}, make([]byte, 6)) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if bus.count != 400 {
		t.Error(bus.count)
	}
}

func TestNothingComesBetweenReadingARegisterAndWritingIt(t *testing.T) {
	bus := reading(0x01)
	p, err := wired(bus).openPart(1, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	err = p.measure(t.Context(), func() error {
		return p.update(0x0c, func(was byte) byte {
			select {
			case p.bus.turnOf(p.addr) <- struct{}{}:
				t.Error("the part is free in between")
			default:
			}
			return was | 0x80
		})
	})
	if err != nil || bus.count != 2 {
		t.Error(err, bus.count)
	}
}

func TestNothingIsSentAfterTheDeadline(t *testing.T) {
	bus := reading(0)
	p, err := wired(bus).openPart(1, 0x38)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = p.measure(ctx, func() error { return p.Tx(0x38, nil, make([]byte, 1)) })
	if !errors.Is(err, context.Canceled) || bus.count != 0 {
		t.Error(err, bus.count)
	}
}

func TestOnlyTheErrorOfWhatMayBeRefusedIsForgotten(t *testing.T) {
	refused, gone := errors.New("refused"), errors.New("gone")
	for _, c := range []struct{ before, want error }{{nil, nil}, {gone, gone}} {
		p, err := wired(&fakeBus{tx: func(n int, _ uint16, _, _ []byte) error {
			return []error{c.before, refused, nil}[n]
		}}).openPart(1, 0x38)
		if err != nil {
			t.Fatal(err)
		}
		err = p.measure(t.Context(), func() error {
			_ = p.command(1) // each transfer after an error repeats it
			p.try(2)
			return p.command(3)
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
}

func TestMeasurementThatAsksForEverIsEnded(t *testing.T) {
	bus := reading(0xff)
	p, err := wired(bus).openPart(1, 0x38)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // each measurement has all its transfers again
		bus.count = 0
		err = p.measure(t.Context(), func() error {
			for status := []byte{0xff}; status[0] == 0xff; {
				if err := p.fetch(status); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x38: not ready after 64 transfers") || bus.count != mostTransfers {
			t.Error(err, bus.count)
		}
	}
}

func TestClosedBusNeverAnswers(t *testing.T) {
	p, err := wired(reading(0)).openPart(1, 0x38)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	err = p.measure(t.Context(), func() error { return p.Tx(0x38, nil, make([]byte, 1)) })
	if !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestTransferErrorsReadAsAPersonAtTheWiringWould(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EREMOTEIO: "i2c-1 0x38: no acknowledge",
		syscall.ENXIO:     "i2c-1 0x38: no such device or address",
		syscall.ETIMEDOUT: "i2c-1 0x38: timed out (is a part holding the bus low?)",
		syscall.EIO:       "i2c-1 0x38: input/output error",
	} {
		_, err := once(t, newAHT20(), failAt(reading(0), 0, errno))
		if !errors.Is(err, errno) || err.Error() != want {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

type heldBus struct{ *fakeBus }

func (heldBus) held(uint16) error { return syscall.EBUSY }

func TestAddressOfAKernelDriverIsLeftAlone(t *testing.T) {
	bus := heldBus{reading(0)}
	_, err := once(t, newAHT20(), bus)
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "dtoverlay") || bus.count != 0 || bus.closed != 1 {
		t.Error(err, bus.count, bus.closed)
	}
}

func TestMissingBusSaysHowToSwitchItOn(t *testing.T) {
	h := &Hardware{Host: host.Host{Dev: t.TempDir()}}
	_, err := newAHT20().Open(t.Context(), h)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "dtparam=i2c_arm=on") ||
		!strings.Contains(err.Error(), h.Dev+"/i2c-1") {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(h.Dev, "i2c-20"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := newAHT20().(*hygrometerOptions)
	other.I2C = 3
	_, err = other.Open(t.Context(), h)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "there are i2c-20") {
		t.Error(err)
	}
}

func TestForbiddenBusNamesTheGroup(t *testing.T) {
	h := &Hardware{Host: host.Host{Dev: "/dev"}, openBus: func(path string) (i2c.BusCloser, error) {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	}}
	_, err := newAHT20().Open(t.Context(), h)
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "usermod -aG i2c ") {
		t.Error(err)
	}
}

func TestFileThatIsNoBusIsRefused(t *testing.T) {
	if _, err := openI2CDev("/dev/null"); !errors.Is(err, syscall.ENOTTY) {
		t.Error(err)
	}
}

func TestKernelRefusesATransferToAFileThatIsNoBus(t *testing.T) {
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	b := &i2cDev{file}
	defer b.Close()
	if err := b.Tx(0x38, []byte{1}, make([]byte, 6)); !errors.Is(err, syscall.ENOTTY) {
		t.Error(err)
	}
	if err := b.Tx(0x80, []byte{1}, nil); !errors.Is(err, syscall.EINVAL) {
		t.Error("took an address of more than 7 bits", err)
	}
}

// struct i2c_msg of <linux/i2c.h>: 3 times 16 bits, padding, a pointer.
func TestMessagesAreLaidOutAsTheKernelReadsThem(t *testing.T) {
	word := unsafe.Sizeof(uintptr(0))
	if got := unsafe.Sizeof(i2cMsg{}); got != 8+word {
		t.Errorf("i2c_msg has %d bytes", got)
	}
	if at := unsafe.Offsetof(i2cMsg{}.buf); at != 8 {
		t.Errorf("buf is at %d", at)
	}
	if got := unsafe.Sizeof(i2cTransfer{}); got != 2*word {
		t.Errorf("i2c_rdwr_ioctl_data has %d bytes", got)
	}
}
