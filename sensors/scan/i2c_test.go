package scan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	periph "periph.io/x/conn/v3/i2c"
)

// fakeProber is a bus of the kernel with parts on it, which records what is asked.
type fakeProber struct {
	i2cfake.Bus
	can   uint
	owned uint16                  // a driver of the kernel uses this address
	at    map[uint16]byte         // addresses that answer, and the byte that they return
	fault func(addr uint16) error // in place of a missing acknowledge

	asked, read []uint16
	sent        []string
}

// newFakeProber has parts that read as 0xab.
func newFakeProber(at ...uint16) *fakeProber {
	s := &fakeProber{can: i2c.FuncI2C | i2c.FuncQuick | i2c.FuncReadByte, at: map[uint16]byte{}}
	for _, addr := range at {
		s.at[addr] = 0xab
	}
	s.Answer = func(_ int, addr uint16, w, r []byte) error {
		s.sent = append(s.sent, fmt.Sprintf("%02x<%x>%d", addr, w, len(r)))
		b, ok := s.at[addr]
		for i := range r {
			r[i] = b
		}
		if !ok {
			return syscall.EREMOTEIO
		}
		return nil
	}
	return s
}

func (s *fakeProber) Functions() (uint, error) { return s.can, nil }

func (s *fakeProber) CheckFree(addr uint16) error {
	if addr == s.owned {
		return syscall.EBUSY
	}
	return nil
}

func (s *fakeProber) Probe(addr uint16, read bool) error {
	s.asked = append(s.asked, addr)
	if read {
		s.read = append(s.read, addr)
	}
	if _, ok := s.at[addr]; ok {
		return nil
	}
	if s.fault != nil {
		return s.fault(addr)
	}
	return syscall.ENXIO
}

// openedBy returns hardware whose buses a function opens.
func openedBy(open func(path string) (periph.BusCloser, error)) *drivers.Hardware {
	return &drivers.Hardware{Host: host.Host{Dev: "/dev"}, I2C: i2c.Buses{OpenBus: open}}
}

func (s *fakeProber) hardware() *drivers.Hardware {
	return openedBy(func(string) (periph.BusCloser, error) { return s, nil })
}

func (s *fakeProber) scan(t testing.TB) Adapter {
	t.Helper()
	a := Bus(t.Context(), s.hardware(), Adapter{Bus: 1})
	if s.Closed != 1 {
		t.Errorf("closed %d times", s.Closed)
	}
	return a
}

func TestAddressesAreProbedLikeI2cdetect(t *testing.T) {
	s := newFakeProber()
	if a := s.scan(t); a.Err != nil || a.Parts != nil {
		t.Fatalf("%+v", a)
	}
	var all, read []uint16
	for addr := uint16(0x08); addr <= 0x77; addr++ {
		all = append(all, addr)
	}
	read = append(read, all[0x30-8:0x38-8]...)
	read = append(read, all[0x50-8:0x60-8]...)
	if !slices.Equal(s.asked, all) || !slices.Equal(s.read, read) || s.sent != nil {
		t.Errorf("asked %x, read %x, sent %v", s.asked, s.read, s.sent)
	}
}

func TestScanUsesOnlyTheAdaptersFunctions(t *testing.T) {
	s := newFakeProber()
	s.can = i2c.FuncI2C | i2c.FuncReadByte
	if a := s.scan(t); a.Err != nil || !slices.Equal(s.asked, s.read) || len(s.read) != 8+16 {
		t.Errorf("%+v: %x", a, s.asked)
	}
	s = newFakeProber()
	s.can = i2c.FuncI2C | i2c.FuncQuick
	if a := s.scan(t); a.Err != nil || s.read != nil || len(s.asked) != 112-24 {
		t.Errorf("%+v: %x", a, s.asked)
	}
	s = newFakeProber(0x50) // a PC's, with its memory's EEPROMs
	s.can = i2c.FuncQuick | i2c.FuncReadByte
	if a := s.scan(t); a.Err != nil || s.asked != nil || !strings.Contains(a.Skipped, "SMBus alone") {
		t.Errorf("%+v: %x", a, s.asked)
	}
}

// Type identityRegister says what a write of one byte could change.
func TestScanWritesOnlyAtSafeAddresses(t *testing.T) {
	for addr := uint16(firstAddress); addr <= lastAddress; addr++ {
		s := newFakeProber(addr)
		a := s.scan(t)
		if len(a.Parts) != 1 || a.Parts[0].Address != addr {
			t.Fatalf("%x: %+v", addr, a)
		}
		harmless := addr >= 0x18 && addr <= 0x1f || addr == 0x76 || addr == 0x77
		if !harmless && s.sent != nil {
			t.Errorf("%x was sent %v", addr, s.sent)
		}
	}
}

func TestAddressOfAKernelDriverIsNotProbed(t *testing.T) {
	s := newFakeProber(0x68, 0x76)
	s.owned = 0x76
	h := s.hardware()
	h.Sys = t.TempDir()
	device := filepath.Join(h.Sys, "bus", "i2c", "devices", "1-0076")
	driver := filepath.Join(h.Sys, "bus", "i2c", "drivers", "bmp280")
	plant(t, filepath.Join(device, "name"), "bme280\n")
	if err := errors.Join(os.MkdirAll(driver, 0o700), os.Symlink(driver, filepath.Join(device, "driver"))); err != nil {
		t.Fatal(err)
	}
	a := Bus(t.Context(), h, Adapter{Bus: 1})
	if a.Err != nil || len(a.Parts) != 2 ||
		!reflect.DeepEqual(a.Parts[1], Part{Address: 0x76, Driver: "bmp280", Device: "bme280"}) {
		t.Errorf("%+v", a)
	}
	if slices.Contains(s.asked, 0x76) || s.sent != nil {
		t.Errorf("spoke to it: %x, %v", s.asked, s.sent)
	}
	s = newFakeProber()
	s.owned = 0x20
	if a := s.scan(t); len(a.Parts) != 1 || a.Parts[0].Driver != "unknown" {
		t.Errorf("%+v", a)
	}
}

func TestScanOfAHungBusStopsEarly(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ETIMEDOUT, syscall.EAGAIN} {
		s := newFakeProber()
		s.fault = func(uint16) error { return errno }
		a := s.scan(t)
		if !errors.Is(a.Err, errno) || !strings.Contains(a.Err.Error(),
			"every address times out: is a part holding SDA") {
			t.Error(a.Err)
		}
		if len(s.asked) != maxTimeouts {
			t.Errorf("asked %d times, each of 100 ms at least", len(s.asked))
		}
	}
}

func TestBusThatHangsDuringAScanKeepsItsParts(t *testing.T) {
	s := newFakeProber(0x23, 0x38)
	s.fault = func(addr uint16) error {
		if addr > 0x38 {
			return syscall.ETIMEDOUT
		}
		return syscall.ENXIO
	}
	a := s.scan(t)
	if len(a.Parts) != 2 || a.Err == nil || !strings.Contains(a.Err.Error(), "hangs since 0x39") {
		t.Errorf("%+v", a)
	}
}

func TestFewTimeoutsDoNotEndAScan(t *testing.T) {
	s := newFakeProber(0x77)
	s.fault = func(addr uint16) error {
		if addr%maxTimeouts == 0 {
			return syscall.ENXIO
		}
		return syscall.ETIMEDOUT
	}
	if a := s.scan(t); a.Err != nil || len(a.Parts) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestDeadBusIsNotReportedAsEmpty(t *testing.T) {
	s := newFakeProber()
	s.fault = func(uint16) error { return syscall.EIO }
	if a := s.scan(t); !errors.Is(a.Err, syscall.EIO) {
		t.Error(a.Err)
	}
}

func TestAnswerAtEveryAddressIsABrokenBus(t *testing.T) {
	s := newFakeProber()
	for addr := uint16(firstAddress); addr <= lastAddress; addr++ {
		if !probesByReading(addr) { // as the HDMI socket of a Pi 4 answers
			s.at[addr] = 0
		}
	}
	a := s.scan(t)
	if a.Parts != nil || a.Err == nil || !strings.Contains(a.Err.Error(), "88 of 112 addresses answer") ||
		s.sent != nil {
		t.Errorf("%+v", a)
	}
}

func TestUnpluggedAdapterEndsTheScan(t *testing.T) {
	s := newFakeProber()
	s.fault = func(uint16) error { return syscall.ENODEV }
	if a := s.scan(t); !errors.Is(a.Err, syscall.ENODEV) || len(s.asked) != 1 {
		t.Error(a.Err, s.asked)
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newFakeProber()
	s.fault = func(addr uint16) error {
		if addr == 0x0a {
			cancel()
		}
		return syscall.ENXIO
	}
	a := Bus(ctx, s.hardware(), Adapter{Bus: 1})
	if !errors.Is(a.Err, context.Canceled) || len(s.asked) != 3 {
		t.Error(a.Err, s.asked)
	}
}

func TestMonitorBusesAreSkipped(t *testing.T) {
	h := &drivers.Hardware{Host: host.Host{Dev: t.TempDir(), Sys: t.TempDir()}}
	names := []string{"bcm2835 (i2c@7e804000)", "bcm2835 (i2c@7e805000)", "fef04500.i2c", "fef09500.i2c",
		"107d508200.i2c",
		"107d508280.i2c", "Broadcom STB :", "Synopsys DesignWare I2C adapter", "DesignWare HDMI", "i915 gmbus dpb",
		"i2c-1-mux (chan_id 0)", "i2c-tiny-usb at bus 001 device 002", "something new"}
	sensors := []string{"bcm2835 (i2c@7e804000)", "Synopsys DesignWare I2C adapter", "i2c-1-mux (chan_id 0)",
		"i2c-tiny-usb at bus 001 device 002"}
	for i, name := range names {
		plant(t, filepath.Join(h.Dev, fmt.Sprint("i2c-", i)), "")
		plant(t, filepath.Join(h.Sys, "bus", "i2c", "devices", fmt.Sprint("i2c-", i), "name"), name+"\n")
	}
	connector := filepath.Join(h.Sys, "class", "drm", "card1-HDMI-A-1")
	err := errors.Join(os.MkdirAll(connector, 0o700),
		os.Symlink(filepath.Join(h.Sys, "bus", "i2c", "devices", "i2c-12"), filepath.Join(connector, "ddc")))
	all, listing := I2C(h)
	if err != nil || listing != nil || len(all) != len(names) {
		t.Fatal(err, listing, all)
	}
	for i, a := range all {
		if int(a.Bus) != i || a.Name != names[i] || (a.Skipped == "") != slices.Contains(sensors, a.Name) {
			t.Errorf("%d: %+v", i, a)
		}
	}
	if a := Bus(t.Context(), h, all[2]); a.Err != nil || a.Parts != nil { // its file is no bus: opening it would fail
		t.Errorf("%+v", a)
	}
}

func TestNoBusSaysHowToGetOne(t *testing.T) {
	h := &drivers.Hardware{Host: host.Host{Dev: t.TempDir(), Sys: t.TempDir()}}
	if _, err := I2C(h); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "raspi-config") {
		t.Error(err)
	}
	plant(t, filepath.Join(h.Sys, "bus", "i2c", "devices", "i2c-1", "name"), "bcm2835 (i2c@7e804000)\n")
	_, err := I2C(h)
	if err == nil || !strings.Contains(err.Error(), "i2c-1") || !strings.Contains(err.Error(), "modprobe i2c-dev") {
		t.Error(err)
	}
}

func TestForbiddenBusErrorNamesTheGroup(t *testing.T) {
	h := openedBy(func(path string) (periph.BusCloser, error) {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	})
	a := Bus(t.Context(), h, Adapter{Bus: 1})
	if !errors.Is(a.Err, os.ErrPermission) || !strings.Contains(a.Err.Error(), "usermod -aG i2c ") {
		t.Error(a.Err)
	}
}

// plant writes a file of a tree.
func plant(t testing.TB, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}
