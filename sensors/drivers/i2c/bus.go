package i2c

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"periph.io/x/conn/v3/i2c"
)

// Buses are the I2C buses in use. Each is opened once for all its parts, which has two reasons:
// the transfers of a bus can be serialised under a context, and its file is closed as soon as
// nobody uses it. The kernel cannot remove an adapter while its file is open (i2c_del_adapter
// waits for it).
//
// The zero value is ready. It must not be copied after its first use.
type Buses struct {
	mu     sync.Mutex
	open   map[string]*sharedBus // by path; guarded by mu
	health map[string]*busHealth // by path, kept after the file is closed; guarded by mu

	// Tests set OpenBus before the first use, to replace the kernel's device file; nil is
	// the kernel.
	OpenBus func(path string) (i2c.BusCloser, error)

	// Like OpenBus, for a driver's file in sysfs and for a GPIO line.
	openAttr func(path string) (io.WriteCloser, error)
	openWire func(gpio.Place) (busWire, error)
}

// sharedBus is one open bus, which allows one transfer at a time.
type sharedBus struct {
	buses   *Buses
	host    *host.Host
	path    string // by the configured number, as in messages
	current Bus    // the number that its adapter had when it was opened
	users   int    // guarded by buses.mu
	health  *busHealth

	// token holds a value during a transfer. It is not a mutex, so that a caller that waits
	// for a transfer that hangs in the kernel can stop when its context ends.
	token chan struct{}

	mu    sync.Mutex    // guards the fields below; never held during a transfer
	bus   i2c.BusCloser // nil after it is closed
	gone  error         // why it is closed, or will be after this transfer
	addr  uint16        // of the current transfer
	since time.Time     // when the current transfer began

	partLocks map[uint16]partLock // by address, for parts that several sensors read
}

// acquire opens a bus, or returns the open one. Each acquire needs one release. If the adapter
// is gone or a repair has closed the bus, acquire opens it again, while earlier users may still
// hold the old sharedBus.
func (bs *Buses) acquire(h *host.Host, bus Bus) (*sharedBus, error) {
	path := filepath.Join(h.Dev, bus.String())
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if b := bs.open[path]; b != nil && b.alive() {
		b.users++
		return b, nil
	}
	health := bs.healthLocked(path)
	if health.underRepair() {
		return nil, fmt.Errorf("%v is being recovered", bus)
	}
	opened, now, err := bs.openAdapter(h, bus)
	if err != nil {
		return nil, err
	}
	if bs.open == nil {
		bs.open = map[string]*sharedBus{}
	}
	b := &sharedBus{
		buses: bs, host: h, path: path, current: now, users: 1, health: health,
		token: make(chan struct{}, 1), bus: opened,
	}
	bs.open[path] = b
	return b, nil
}

// openAdapter opens the adapter of a bus of the configuration, under its current number.
func (bs *Buses) openAdapter(h *host.Host, bus Bus) (opened i2c.BusCloser, now Bus, err error) {
	if now, err = currentBus(h, bus); err != nil {
		return nil, 0, err
	}
	open := bs.OpenBus
	if open == nil {
		open = openDev
	}
	path := filepath.Join(h.Dev, now.String())
	if opened, err = open(path); err != nil {
		return nil, 0, ExplainOpen(h, path, err)
	}
	// Check again now: the kernel does not reuse the number of an open adapter.
	if err := confirmBus(h, bus, now); err != nil {
		return nil, 0, errors.Join(err, opened.Close())
	}
	return opened, now, nil
}

func (bs *Buses) healthLocked(path string) *busHealth {
	if bs.health == nil {
		bs.health = map[string]*busHealth{}
	}
	if bs.health[path] == nil {
		bs.health[path] = &busHealth{}
	}
	return bs.health[path]
}

// release closes the bus after its last user.
func (bs *Buses) release(b *sharedBus) error {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if b.users--; b.users > 0 {
		return nil
	}
	if bs.open[b.path] == b { // it may have been opened again under the same path
		delete(bs.open, b.path)
	}
	return b.close()
}

func (b *sharedBus) alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone == nil
}

// close closes the file of the bus, now or after the current transfer.
func (b *sharedBus) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.markGoneLocked(os.ErrClosed)
	select {
	case b.token <- struct{}{}:
		return b.endLocked()
	default:
		return nil
	}
}

// markGoneLocked makes every user of this bus fail with the first reason given, and makes the
// next acquire open the bus again. It does not close the file: a transfer may be using it.
func (b *sharedBus) markGoneLocked(why error) {
	if b.gone == nil {
		b.gone = why
	}
}

// checkFree returns EBUSY if a driver of the kernel uses the address. It does not wait for a
// transfer.
func (b *sharedBus) checkFree(addr uint16) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.bus.(interface{ CheckFree(addr uint16) error }); ok {
		return c.CheckFree(addr)
	}
	return nil // a bus of a test, which has no kernel
}

func (b *sharedBus) String() string { return filepath.Base(b.path) }

// AdapterGone reports whether an error of a transfer means that the adapter itself is gone, for
// example a USB adapter that was unplugged. The file is then of no use.
func AdapterGone(err error) bool {
	for _, gone := range []error{syscall.ENODEV, syscall.ESHUTDOWN, syscall.EBADF} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// ExplainOpen adds to an error of opening a bus what the user can do.
func ExplainOpen(h *host.Host, path string, err error) error {
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: join the group that may: sudo usermod -aG i2c %s, then start again",
			err, host.UserName())
	case !errors.Is(err, syscall.ENOENT):
		return err
	case filepath.Base(path) == "i2c-1":
		return fmt.Errorf("%w: switch the bus on with sudo raspi-config nonint do_i2c 0 "+
			"(dtparam=i2c_arm=on and the module i2c-dev), then restart", err)
	}
	found, _ := filepath.Glob(filepath.Join(h.Dev, "i2c-*")) // the pattern is fixed
	if len(found) == 0 {
		return fmt.Errorf("%w: there is no I2C bus at all: sudo raspi-config nonint do_i2c 0 "+
			"(dtparam=i2c_arm=on and the module i2c-dev) makes i2c-1", err)
	}
	return fmt.Errorf("%w: there are %s", err, host.JoinNames(found))
}
