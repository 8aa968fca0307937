package i2c

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c"
)

// busRig is a host and its buses, as a program has them.
type busRig struct {
	host.Host
	Buses
}

func (m *busRig) part(bus Bus, addr uint16) (*Part, error) {
	return m.Open(&m.Host, bus, addr)
}

// openedBy is a machine whose buses a function opens.
func openedBy(open func(path string) (i2c.BusCloser, error)) *busRig {
	return &busRig{Host: host.Host{Dev: "/dev"}, Buses: Buses{OpenBus: open}}
}

// withBus is a machine with one bus.
func withBus(bus i2c.BusCloser) *busRig {
	return openedBy(func(string) (i2c.BusCloser, error) { return bus, nil })
}

func TestBusForms(t *testing.T) {
	for _, text := range []string{"1", "i2c-1", "/dev/i2c-1"} {
		var b Bus
		if err := b.UnmarshalText([]byte(text)); err != nil || b != 1 {
			t.Errorf("%s: %v, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "-1", "one", "i2c1", "/dev/i2c-", "/dev/spi"} {
		var b Bus
		if err := b.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), `i2c: "1"`) {
			t.Errorf("%q: %v, %v", text, b, err)
		}
	}
}

func TestSensorsShareOneBusAndTheLastClosesIt(t *testing.T) {
	bus, opened := i2cfake.Reading(0x18), 0
	h := openedBy(func(path string) (i2c.BusCloser, error) {
		if opened++; path != "/dev/i2c-1" {
			t.Error(path)
		}
		return bus, nil
	})
	a, errA := h.part(1, 0x38)
	b, errB := h.part(1, 0x39)
	if errA != nil || errB != nil || opened != 1 {
		t.Fatal(errA, errB, opened)
	}
	if a.Close(); bus.Closed != 0 {
		t.Fatal("closed while in use")
	}
	if b.Close(); bus.Closed != 1 {
		t.Fatal("left open")
	}
	if _, err := h.part(1, 0x38); err != nil || opened != 2 {
		t.Fatal("not opened again", err, opened)
	}
}

func TestUnpluggedAdapterIsClosedAndReopened(t *testing.T) {
	first, second := i2cfake.Reading(0), i2cfake.Reading(0)
	first.Answer = func(int, uint16, []byte, []byte) error { return syscall.ENODEV }
	next := []*i2cfake.Bus{first, second}
	h := openedBy(func(string) (i2c.BusCloser, error) {
		bus := next[0]
		next = next[1:]
		return bus, nil
	})
	read := func(p *Part) error {
		return p.Measure(t.Context(), func() error { return p.tx(p.addr, nil, make([]byte, 1)) })
	}
	a, _ := h.part(1, 0x38)
	b, _ := h.part(1, 0x39)
	if err := read(a); !errors.Is(err, syscall.ENODEV) || first.Closed != 1 {
		t.Fatal(err, first.Closed)
	}
	if err := read(b); !errors.Is(err, syscall.ENODEV) || first.Count != 1 {
		t.Fatal("the other did not learn it", err, first.Count)
	}
	a.Close()
	a, err := h.part(1, 0x38)
	if err != nil || read(a) != nil {
		t.Fatal("not opened afresh", err)
	}
	if b.Close(); second.Closed != 0 {
		t.Fatal("the old user closed the new bus")
	}
	if a.Close(); second.Closed != 1 || first.Closed != 1 {
		t.Fatal(first.Closed, second.Closed)
	}
}

// The race detector sees two transfers at a time: the bus counts without a lock.
func TestTransfersOfABusAreSerialised(t *testing.T) {
	bus := i2cfake.Reading(0)
	h := withBus(bus)
	var all sync.WaitGroup
	for addr := range uint16(4) {
		all.Go(func() {
			p, err := h.part(1, addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			for range 100 {
				err := p.Measure(t.Context(), func() error { return p.tx(addr, []byte{0}, make([]byte, 6)) })
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if bus.Count != 400 {
		t.Error(bus.Count)
	}
}

func TestUpdateIsAtomic(t *testing.T) {
	bus := i2cfake.Reading(0x01)
	p, err := withBus(bus).part(1, 0x20)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Measure(t.Context(), func() error {
		return p.Update(0x0c, func(was byte) byte {
			select {
			case p.bus.lockOf(p.addr) <- struct{}{}:
				t.Error("the part is free in between")
			default:
			}
			return was | 0x80
		})
	})
	if err != nil || bus.Count != 2 {
		t.Error(err, bus.Count)
	}
}

func TestWaitForTheBusEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := withBus(i2cfake.Reading(0)).part(1, 0x48)
		if err != nil {
			t.Fatal(err)
		}
		p.bus.lockOf(0x48) <- struct{}{} // another has it and hangs
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = p.MeasureExclusive(ctx, func() error { t.Error("measured"); return nil })
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "i2c-1 0x48: ") {
			t.Error(err)
		}
	})
}

func TestNothingIsSentAfterTheDeadline(t *testing.T) {
	bus := i2cfake.Reading(0)
	p, err := withBus(bus).part(1, 0x38)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = p.Measure(ctx, func() error { return p.tx(0x38, nil, make([]byte, 1)) })
	if !errors.Is(err, context.Canceled) || bus.Count != 0 {
		t.Error(err, bus.Count)
	}
}

func TestTryCommandClearsOnlyItsOwnError(t *testing.T) {
	refused, gone := errors.New("refused"), errors.New("gone")
	for _, c := range []struct{ before, want error }{{nil, nil}, {gone, gone}} {
		p, err := withBus(&i2cfake.Bus{Answer: func(n int, _ uint16, _, _ []byte) error {
			return []error{c.before, refused, nil}[n]
		}}).part(1, 0x38)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Measure(t.Context(), func() error {
			_ = p.Command(1) // each transfer after an error repeats it
			p.TryCommand(2)
			return p.Command(3)
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
}

func TestMeasurementIsBoundedInTransfers(t *testing.T) {
	bus := i2cfake.Reading(0xff)
	p, err := withBus(bus).part(1, 0x38)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // each measurement has all its transfers again
		bus.Count = 0
		err = p.Measure(t.Context(), func() error {
			for status := []byte{0xff}; status[0] == 0xff; {
				if err := p.Receive(status); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil || !strings.HasPrefix(err.Error(), "i2c-1 0x38: not ready after 64 transfers") ||
			bus.Count != MaxTransfers {
			t.Error(err, bus.Count)
		}
	}
}

func TestClosedBusNeverAnswers(t *testing.T) {
	p, err := withBus(i2cfake.Reading(0)).part(1, 0x38)
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	err = p.Measure(t.Context(), func() error { return p.tx(0x38, nil, make([]byte, 1)) })
	if !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestTransferErrorsAreExplained(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EREMOTEIO: "i2c-1 0x38: no acknowledge",
		syscall.ENXIO:     "i2c-1 0x38: no such device or address",
		syscall.ETIMEDOUT: "i2c-1 0x38: timed out (is a part holding the bus low?)",
		syscall.EIO:       "i2c-1 0x38: input/output error",
	} {
		p, err := withBus(i2cfake.FailAt(i2cfake.Reading(0), 0, errno)).part(1, 0x38)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Measure(t.Context(), func() error { return p.Receive(make([]byte, 1)) })
		if !errors.Is(err, errno) || err.Error() != want {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

type heldBus struct{ *i2cfake.Bus }

func (heldBus) CheckFree(uint16) error { return syscall.EBUSY }

func TestAddressOfAKernelDriverIsRefused(t *testing.T) {
	bus := heldBus{i2cfake.Reading(0)}
	_, err := withBus(bus).part(1, 0x38)
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "dtoverlay") || bus.Count != 0 ||
		bus.Closed != 1 {
		t.Error(err, bus.Count, bus.Closed)
	}
}

func TestMissingBusSaysHowToSwitchItOn(t *testing.T) {
	h := &busRig{Host: host.Host{Dev: t.TempDir()}}
	_, err := h.part(1, 0x38)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "dtparam=i2c_arm=on") ||
		!strings.Contains(err.Error(), h.Dev+"/i2c-1") {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(h.Dev, "i2c-20"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = h.part(3, 0x38)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "there are i2c-20") {
		t.Error(err)
	}
}

func TestForbiddenBusNamesTheGroup(t *testing.T) {
	h := openedBy(func(path string) (i2c.BusCloser, error) {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	})
	_, err := h.part(1, 0x38)
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "usermod -aG i2c ") {
		t.Error(err)
	}
}

func TestNonBusFileIsRejected(t *testing.T) {
	if _, err := openDev("/dev/null"); !errors.Is(err, syscall.ENOTTY) {
		t.Error(err)
	}
}

func TestKernelRefusesATransferToANonBusFile(t *testing.T) {
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	b := &dev{file}
	defer b.Close()
	if err := b.Tx(0x38, []byte{1}, make([]byte, 6)); !errors.Is(err, syscall.ENOTTY) {
		t.Error(err)
	}
	if err := b.Tx(0x80, []byte{1}, nil); !errors.Is(err, syscall.EINVAL) {
		t.Error("took an address of more than 7 bits", err)
	}
}

// struct i2c_msg of <linux/i2c.h>: 3 times 16 bits, padding, a pointer.
func TestMessageLayoutMatchesTheKernel(t *testing.T) {
	word := unsafe.Sizeof(uintptr(0))
	if got := unsafe.Sizeof(message{}); got != 8+word {
		t.Errorf("i2c_msg has %d bytes", got)
	}
	if at := unsafe.Offsetof(message{}.buf); at != 8 {
		t.Errorf("buf is at %d", at)
	}
	if got := unsafe.Sizeof(rdwrData{}); got != 2*word {
		t.Errorf("i2c_rdwr_ioctl_data has %d bytes", got)
	}
}

func TestKernelRefusesToProbeANonBusFile(t *testing.T) {
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	b := &dev{file}
	defer b.Close()
	if _, err := b.Functions(); !errors.Is(err, syscall.ENOTTY) {
		t.Error(err)
	}
	if err := b.Probe(0x38, true); !errors.Is(err, syscall.ENOTTY) {
		t.Error(err)
	}
}

// struct i2c_smbus_ioctl_data of <linux/i2c-dev.h>: 2 bytes, padding, 32 bits, a pointer.
func TestTransactionLayoutMatchesTheKernel(t *testing.T) {
	if got, want := unsafe.Sizeof(smbusTransfer{}), 8+unsafe.Sizeof(uintptr(0)); got != want {
		t.Errorf("i2c_smbus_ioctl_data has %d bytes, want %d", got, want)
	}
	if size, data := unsafe.Offsetof(smbusTransfer{}.size), unsafe.Offsetof(smbusTransfer{}.data); size != 4 ||
		data != 8 {
		t.Errorf("size is at %d, data at %d", size, data)
	}
}
