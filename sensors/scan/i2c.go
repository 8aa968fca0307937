package scan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// An Adapter is an I2C bus and what was found on it.
type Adapter struct {
	Bus     i2c.Bus
	Name    string // of the adapter: "bcm2835 (i2c@7e804000)"
	Skipped string // why it is not scanned; empty: it may be
	Parts   []Part
	Err     error // why it could not be scanned completely
}

// A Part is a part that answers at an address, or that a driver of the kernel uses.
type Part struct {
	Address uint16
	Kinds   []string // the kinds that it may be, the most likely first
	Says    string   // what its registers identify it as: "BME280 (chip id 0x60)"
	Driver  string   // the driver of the kernel that uses the address; nothing was sent to it
	Device  string   // its name in the kernel
}

// displayAdapters matches the names of adapters for monitors: the DDC of the HDMI sockets of a
// Pi 0 to 3 (7e805000), 4 (fef04500, fef09500) and 5 (107d508200, 107d508280), and graphics cards.
// That of the Pi 4 acknowledges every address.
var displayAdapters = regexp.MustCompile(
	`(?i)hdmi|ddc|gmbus|amdgpu|nvidia|7e805000|^fef0[49]500|^107d5082[08]0|^broadcom stb`)

// I2C returns the I2C buses, and sends nothing. If there is no bus, the error says how to enable
// one.
func I2C(h *drivers.Hardware) (all []Adapter, err error) {
	names, err := host.Numbered(h.Dev, "i2c-")
	if err != nil {
		return nil, err
	}
	sys := filepath.Join(h.Sys, "bus", "i2c", "devices")
	if len(names) == 0 {
		return nil, explainNoBus(h, sys)
	}
	displays := displayBuses(h)
	for _, name := range names {
		n, _ := host.ParseNumber(strings.TrimPrefix(name, "i2c-"))
		a := Adapter{Bus: i2c.Bus(n), Name: host.ReadPrintable(filepath.Join(sys, name, "name"))}
		if displays[name] || displayAdapters.MatchString(a.Name) {
			a.Skipped = "a screen's bus (DDC): a stray write can upset a monitor, and no sensor is there"
		}
		all = append(all, a)
	}
	return all, nil
}

// explainNoBus returns the error if there are no device files of buses. It distinguishes a missing
// module i2c-dev from a missing bus.
func explainNoBus(h *drivers.Hardware, sys string) error {
	missing := &os.PathError{Op: "open", Path: filepath.Join(h.Dev, "i2c-*"), Err: syscall.ENOENT}
	if there, _ := host.Numbered(sys, "i2c-"); len(there) > 0 {
		return fmt.Errorf("%w: the kernel has %s, but nobody may use it yet: sudo modprobe i2c-dev",
			missing, host.JoinNames(there))
	}
	return i2c.ExplainOpen(&h.Host, missing.Path, missing)
}

// displayBuses returns the buses that the graphics drivers list as those of monitors.
func displayBuses(h *drivers.Hardware) map[string]bool {
	links, _ := filepath.Glob(filepath.Join(h.Sys, "class", "drm", "*", "ddc")) // its only error is a bad pattern
	buses := map[string]bool{}
	for _, link := range links {
		buses[host.LinkTarget(link)] = true
	}
	return buses
}

// The addresses that are not reserved (I2C specification UM10204, 3.1.12).
const firstAddress, lastAddress = 0x08, 0x77

const (
	maxTimeouts = 8  // timeouts in a row after which the scan stops; each takes 100 to 200 ms
	maxAnswers  = 56 // of 112 addresses: so many answers mean that the bus is broken
)

// probesByReading reports whether an address is probed by reading a byte, and not by a write
// without data. i2cdetect does the same by default: EEPROMs have these addresses, and one of them
// (Atmel's AT24RF08) is changed by a write without data.
func probesByReading(addr uint16) bool {
	return addr >= 0x30 && addr <= 0x37 || addr >= 0x50 && addr <= 0x5f
}

// Bus probes each address of a bus, as carefully as i2cdetect does by default. It sends nothing to
// an address that a driver of the kernel uses. It stops when ctx ends, after 25 s, or early on a
// bus that hangs: Err of the result then says why, and Parts has what was found until then.
func Bus(ctx context.Context, h *drivers.Hardware, a Adapter) Adapter {
	if a.Skipped != "" {
		return a
	}
	bus, err := h.I2C.OpenProber(&h.Host, a.Bus)
	if err != nil {
		a.Err = err
		return a
	}
	s := &busScan{hw: h, bus: a.Bus, dev: bus}
	a.Skipped, a.Err = s.run(ctx)
	a.Parts, a.Err = s.parts, errors.Join(a.Err, bus.Close())
	return a
}

// busScan is the scan of one bus.
type busScan struct {
	hw    *drivers.Hardware
	bus   i2c.Bus
	dev   i2c.Prober
	parts []Part

	asked    int   // number of probed addresses
	answers  int   // number of addresses that answered
	timeouts int   // in a row
	lastErr  error // the last error other than a missing acknowledge
}

// run probes all addresses, or returns why the bus is skipped.
func (s *busScan) run(ctx context.Context) (skipped string, err error) {
	can, err := s.dev.Functions()
	switch {
	case err != nil:
		return "", err
	case can&i2c.FuncI2C == 0:
		return "the adapter does SMBus alone, which no kind here can use", nil
	}
	for addr := uint16(firstAddress); addr <= lastAddress; addr++ {
		read := probesByReading(addr)
		if read && can&i2c.FuncReadByte == 0 || !read && can&i2c.FuncQuick == 0 {
			continue // the adapter does not support the safe way for this address
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if err := s.probe(addr, read); err != nil {
			return "", err
		}
	}
	return "", s.conclude()
}

// probe probes one address. An error ends the scan of the bus.
func (s *busScan) probe(addr uint16, read bool) error {
	// Do not disturb a part that a driver of the kernel uses.
	err := s.dev.CheckFree(addr)
	if err == nil {
		s.asked++
		err = s.dev.Probe(addr, read)
	}
	switch {
	case err == nil:
		s.timeouts = 0
		s.answers++
		s.parts = append(s.parts, Part{Address: addr})
	case errors.Is(err, syscall.EBUSY):
		s.parts = append(s.parts, s.kernelPart(addr))
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN):
		return s.recordTimeout(addr, err)
	case i2c.AdapterGone(err):
		return fmt.Errorf("%v has gone: %w", s.bus, err)
	case errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EREMOTEIO):
		s.timeouts = 0 // no acknowledge: Documentation/i2c/fault-codes.rst
	default:
		s.timeouts, s.lastErr = 0, err
	}
	return nil
}

// recordTimeout counts a timeout. After maxTimeouts in a row it returns an error, which ends the
// scan.
func (s *busScan) recordTimeout(addr uint16, err error) error {
	s.lastErr = err
	if s.timeouts++; s.timeouts < maxTimeouts {
		return nil
	}
	if s.asked == s.timeouts {
		return fmt.Errorf("every address times out: is a part holding SDA or SCL low, or is a pull-up missing? %w", err)
	}
	return fmt.Errorf("hangs since %s: %w (does the part before it hold SDA low? switch it off and on)",
		address(addr-maxTimeouts+1), err)
}

// conclude checks the number of answers, and identifies the parts.
func (s *busScan) conclude() error {
	if s.answers >= maxAnswers {
		s.parts = nil
		return fmt.Errorf("%d of %d addresses answer, which no wiring does: "+
			"is SDA held low, or does nothing hang here?", s.answers, s.asked)
	}
	if s.answers == 0 && s.lastErr != nil {
		return fmt.Errorf("no address answers: %w", s.lastErr)
	}
	for i := range s.parts {
		if p := &s.parts[i]; p.Driver == "" {
			p.Kinds = kindsAt(p.Address) // identify then removes kinds
			identify(s.dev, p)
		}
	}
	return nil
}

// kernelPart returns a part that a driver of the kernel uses.
func (s *busScan) kernelPart(addr uint16) Part {
	dir := filepath.Join(s.hw.Sys, "bus", "i2c", "devices", fmt.Sprintf("%d-%04x", s.bus, addr))
	p := Part{
		Address: addr,
		Driver:  host.Printable(host.LinkTarget(filepath.Join(dir, "driver"))),
		Device:  host.ReadPrintable(filepath.Join(dir, "name")),
	}
	if p.Driver == "" {
		p.Driver = "unknown"
	}
	return p
}
