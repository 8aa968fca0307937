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

// Buses are the I2C buses in use, each opened once however many parts hang on
// it. periph opens one file for each user and leaves the serialising to the
// kernel; one owner keeps a bus's transfers in one queue and makes sure that the
// file is closed when nobody uses it: the kernel cannot remove an adapter
// while its file is open (i2c_del_adapter waits for it).
//
// The zero value is ready. It is not to be copied after its first use.
type Buses struct {
	mu     sync.Mutex
	open   map[string]*sharedBus // by path; guarded by mu
	health map[string]*busHealth // by path; it outlives the file; guarded by mu

	// OpenBus opens a device file in place of the kernel, in tests. It is set before
	// the first use; nil is the kernel.
	OpenBus func(path string) (i2c.BusCloser, error)

	// As OpenBus, for a driver's file in sysfs and for a GPIO line.
	openAttr func(path string) (io.WriteCloser, error)
	openWire func(gpio.Place) (busWire, error)
}

// sharedBus is one open bus, for one transfer at a time.
type sharedBus struct {
	buses   *Buses
	host    *host.Host
	path    string // by the configured number, as in messages
	current Bus    // the number that its adapter had when it was opened
	users   int    // guarded by buses.mu
	health  *busHealth

	// token has a value in it while a transfer is under way. It is not a mutex: a
	// transfer that hangs in the kernel would hold every waiting caller with it,
	// and a wait for a channel ends with its context.
	token chan struct{}

	mu    sync.Mutex    // guards what follows; never held during a transfer
	bus   i2c.BusCloser // nil once it is closed
	gone  error         // why it is closed, or will be after this transfer
	addr  uint16        // of the transfer under way
	since time.Time     // when that began

	partLocks map[uint16]partLock // by address, of the parts that several sensors read
}

// acquire opens a bus or joins those who have it open. Each acquire takes one
// release. A bus whose adapter has gone, or that a repair has closed, is opened again
// while its former users still hold the old one.
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

// openAdapter opens the adapter that a bus of the configuration stands for, under
// the number that it has now.
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
	// Only now is the number certain: the kernel gives that of an open adapter to no
	// other.
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
	// A bus that had gone may have been opened again under the same path by others.
	if bs.open[b.path] == b { // not one that was opened after this was gone
		delete(bs.open, b.path)
	}
	return b.close()
}

func (b *sharedBus) alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone == nil
}

// close closes the file of the bus, at once or when the transfer under way has returned.
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

// markGoneLocked has every user of this bus fail with the first reason given, and the
// next acquire open the bus again. The file is closed when no transfer is under way.
func (b *sharedBus) markGoneLocked(why error) {
	if b.gone == nil {
		b.gone = why
	}
}

// checkFree returns EBUSY if a driver of the kernel has the address, which would then
// be spoken to by two. It does not wait for a transfer.
func (b *sharedBus) checkFree(addr uint16) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.bus.(interface{ CheckFree(addr uint16) error }); ok {
		return c.CheckFree(addr)
	}
	return nil // a bus of a test, which has no kernel
}

func (b *sharedBus) String() string { return filepath.Base(b.path) }

// AdapterGone reports whether an error of a transfer means that the adapter itself is
// not there any more, as when a USB adapter is unplugged: no retry on this file helps.
func AdapterGone(err error) bool {
	for _, gone := range []error{syscall.ENODEV, syscall.ESHUTDOWN, syscall.EBADF} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// ExplainOpen adds to an error of opening a bus how to fix it.
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
