package drivers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// An I2CAdapter is an I2C bus and what was found on it.
type I2CAdapter struct {
	Bus   i2c.Bus
	Name  string // the adapter's: "bcm2835 (i2c@7e804000)"
	Left  string // why it is left alone; empty: it may be looked over
	Parts []I2CPart
	Err   error // why it could not be looked over, or not to the end
}

// An I2CPart is something that answers at an address, or that the kernel has.
type I2CPart struct {
	Address uint16
	Kinds   []string // what it may be, the likeliest first
	Says    string   // what its own registers say it is: "BME280 (chip id 0x60)"
	Driver  string   // the kernel's that has the address; then nothing was sent there
	Device  string   // what the kernel calls it
}

// displays are adapters that lead to a screen: an HDMI socket's DDC on the Pi 0
// to 3 (7e805000), 4 (fef04500, fef09500) and 5 (107d508200, 107d508280), and
// graphics cards. The Pi 4's acknowledges every address.
var displays = regexp.MustCompile(`(?i)hdmi|ddc|gmbus|amdgpu|nvidia|7e805000|^fef0[49]500|^107d5082[08]0|^broadcom stb`)

// ScanI2C lists the I2C buses. Nothing is sent. No bus at all is an error that
// says how to get one.
func (h *Hardware) ScanI2C() (all []I2CAdapter, err error) {
	names, err := host.Numbered(h.Dev, "i2c-")
	if err != nil {
		return nil, err
	}
	sys := filepath.Join(h.Sys, "bus", "i2c", "devices")
	if len(names) == 0 {
		return nil, h.noBus(sys)
	}
	screens := h.screenBuses()
	for _, name := range names {
		n, _ := host.ParseNumber(strings.TrimPrefix(name, "i2c-"))
		a := I2CAdapter{Bus: i2c.Bus(n), Name: host.ReadPrintable(filepath.Join(sys, name, "name"))}
		if screens[name] || displays.MatchString(a.Name) {
			a.Left = "a screen's bus (DDC): a stray write can upset a monitor, and no sensor is there"
		}
		all = append(all, a)
	}
	return all, nil
}

func (h *Hardware) noBus(sys string) error {
	missing := &os.PathError{Op: "open", Path: filepath.Join(h.Dev, "i2c-*"), Err: syscall.ENOENT}
	if there, _ := host.Numbered(sys, "i2c-"); len(there) > 0 {
		return fmt.Errorf("%w: the kernel has %s, but nobody may use it yet: sudo modprobe i2c-dev", missing, host.JoinNames(there))
	}
	return i2c.ExplainOpen(&h.Host, missing.Path, missing)
}

// screenBuses are the buses that the graphics drivers say are a screen's.
func (h *Hardware) screenBuses() map[string]bool {
	links, _ := filepath.Glob(filepath.Join(h.Sys, "class", "drm", "*", "ddc")) // the pattern is fixed
	buses := map[string]bool{}
	for _, link := range links {
		buses[host.LinkTarget(link)] = true
	}
	return buses
}

// The addresses that are not reserved (I2C specification UM10204, 3.1.12).
const firstAddress, lastAddress = 0x08, 0x77

const (
	mostStuck   = 8  // addresses in a row that time out: the bus hangs, 100 to 200 ms for each
	mostAnswers = 56 // of the 112 addresses: no wiring has so many parts
)

// byReading are the addresses at which a part is asked by reading a byte, and not
// by an address with nothing behind it, as i2cdetect does by default: EEPROMs are there,
// and one (Atmel's AT24RF08) takes the latter for a write.
func byReading(addr uint16) bool {
	return addr >= 0x30 && addr <= 0x37 || addr >= 0x50 && addr <= 0x5f
}

// ScanBus asks at each address of a bus whether a part is there, as carefully
// as i2cdetect does by default, and leaves alone what a driver of the kernel has.
// It ends after 25 s at the latest, and soon on a bus that hangs.
func (h *Hardware) ScanBus(ctx context.Context, a I2CAdapter) I2CAdapter {
	if a.Left != "" {
		return a
	}
	bus, err := h.I2C.OpenProber(&h.Host, a.Bus)
	if err != nil {
		a.Err = err
		return a
	}
	s := &busScan{hw: h, bus: a.Bus, dev: bus}
	a.Left, a.Err = s.all(ctx)
	a.Parts, a.Err = s.parts, errors.Join(a.Err, bus.Close())
	return a
}

// busScan is one bus being looked over.
type busScan struct {
	hw    *Hardware
	bus   i2c.Bus
	dev   i2c.Prober
	parts []I2CPart

	asked, answers, stuck int
	failing               error // the last error that was no plain "nobody here"
}

func (s *busScan) all(ctx context.Context) (left string, err error) {
	can, err := s.dev.Functions()
	switch {
	case err != nil:
		return "", err
	case can&i2c.FuncI2C == 0:
		return "the adapter does SMBus alone, which no kind here can use", nil
	}
	for addr := uint16(firstAddress); addr <= lastAddress; addr++ {
		read := byReading(addr)
		if read && can&i2c.FuncReadByte == 0 || !read && can&i2c.FuncQuick == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if err := s.ask(addr, read); err != nil {
			return "", err
		}
	}
	return "", s.verdict()
}

// ask asks at one address. An error ends the scan of the bus.
func (s *busScan) ask(addr uint16, read bool) error {
	err := s.dev.CheckFree(addr)
	if err == nil {
		s.asked++
		err = s.dev.Probe(addr, read)
	}
	switch {
	case err == nil:
		s.stuck = 0
		s.answers++
		s.parts = append(s.parts, I2CPart{Address: addr})
	case errors.Is(err, syscall.EBUSY):
		s.parts = append(s.parts, s.kernels(addr))
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN):
		return s.hangs(addr, err)
	case i2c.AdapterGone(err):
		return fmt.Errorf("%v has gone: %w", s.bus, err)
	case errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EREMOTEIO):
		s.stuck = 0 // nobody here: Documentation/i2c/fault-codes.rst
	default:
		s.stuck, s.failing = 0, err
	}
	return nil
}

// hangs counts addresses that time out, and gives up on a bus that does nothing
// else.
func (s *busScan) hangs(addr uint16, err error) error {
	s.failing = err
	if s.stuck++; s.stuck < mostStuck {
		return nil
	}
	if s.asked == s.stuck {
		return fmt.Errorf("every address times out: is a part holding SDA or SCL low, or is a pull-up missing? %w", err)
	}
	return fmt.Errorf("hangs since %s: %w (does the part before it hold SDA low? switch it off and on)", address(addr-mostStuck+1), err)
}

// verdict looks at the answers as a whole, and asks the parts who they are.
func (s *busScan) verdict() error {
	if s.answers >= mostAnswers {
		s.parts = nil
		return fmt.Errorf("%d of %d addresses answer, which no wiring does: is SDA held low, or does nothing hang here?", s.answers, s.asked)
	}
	if s.answers == 0 && s.failing != nil {
		return fmt.Errorf("no address answers: %w", s.failing)
	}
	for i := range s.parts {
		if p := &s.parts[i]; p.Driver == "" {
			p.Kinds = kindsAt(p.Address)
			identify(s.dev, p)
		}
	}
	return nil
}

// kernels is a part that a driver of the kernel has.
func (s *busScan) kernels(addr uint16) I2CPart {
	dir := filepath.Join(s.hw.Sys, "bus", "i2c", "devices", fmt.Sprintf("%d-%04x", s.bus, addr))
	p := I2CPart{Address: addr, Driver: host.Printable(host.LinkTarget(filepath.Join(dir, "driver"))), Device: host.ReadPrintable(filepath.Join(dir, "name"))}
	if p.Driver == "" {
		p.Driver = "unknown"
	}
	return p
}
