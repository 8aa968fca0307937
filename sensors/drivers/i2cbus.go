package drivers

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

// buses are the I2C buses in use, each opened once however many parts hang on
// it. periph opens one file for each user and leaves the serialising to the
// kernel; one owner keeps a bus's transfers in one queue and makes sure that the
// file is closed when nobody uses it: the kernel cannot let go of an adapter
// while its file is open (i2c_del_adapter waits for it).
type buses struct {
	mu     sync.Mutex
	open   map[string]*sharedBus // by path
	health map[string]*busHealth // by path; it outlives the file

	// What tests put in place of the kernel; nil is the kernel.
	openAttr func(path string) (io.WriteCloser, error)
	openWire func(gpio.Place) (busWire, error)
}

// sharedBus is one open bus, for one transfer at a time.
type sharedBus struct {
	hw     *Hardware
	path   string // by the configured number, as in messages
	now    I2CBus // the number that its adapter has
	users  int    // guarded by buses.mu
	health *busHealth

	// turn holds a token while a transfer is under way. It is no mutex, because
	// one that hangs in the kernel must not take the others' threads with it.
	turn chan struct{}

	mu    sync.Mutex    // never held during a transfer
	bus   i2c.BusCloser // nil once it is closed
	gone  error         // why it is closed, or will be after this transfer
	addr  uint16        // of the transfer under way
	since time.Time     // when that began

	turns map[uint16]turn // of the parts that several sensors read
}

// acquire opens a bus or joins those who have it open. Each acquire takes one
// release.
func (h *Hardware) acquire(bus I2CBus) (*sharedBus, error) {
	path := filepath.Join(h.Dev, bus.String())
	h.buses.mu.Lock()
	defer h.buses.mu.Unlock()
	if b := h.buses.open[path]; b != nil && b.alive() {
		b.users++
		return b, nil
	}
	health := h.buses.healthLocked(path)
	if health.underRepair() {
		return nil, fmt.Errorf("%v is being recovered", bus)
	}
	opened, now, err := h.openAdapter(bus)
	if err != nil {
		return nil, err
	}
	if h.buses.open == nil {
		h.buses.open = map[string]*sharedBus{}
	}
	b := &sharedBus{hw: h, path: path, now: now, users: 1, health: health, turn: make(chan struct{}, 1), bus: opened}
	h.buses.open[path] = b
	return b, nil
}

// openAdapter opens the adapter that a bus of the configuration stands for, under
// the number that it has now.
func (h *Hardware) openAdapter(bus I2CBus) (opened i2c.BusCloser, now I2CBus, err error) {
	if now, err = h.busNow(bus); err != nil {
		return nil, 0, err
	}
	open := h.openBus
	if open == nil {
		open = openI2CDev
	}
	path := filepath.Join(h.Dev, now.String())
	if opened, err = open(path); err != nil {
		return nil, 0, h.explainBus(path, err)
	}
	if err := h.confirmBus(bus, now); err != nil {
		return nil, 0, errors.Join(err, opened.Close())
	}
	return opened, now, nil
}

func (bs *buses) healthLocked(path string) *busHealth {
	if bs.health == nil {
		bs.health = map[string]*busHealth{}
	}
	if bs.health[path] == nil {
		bs.health[path] = &busHealth{}
	}
	return bs.health[path]
}

// release closes the bus after its last user.
func (h *Hardware) release(b *sharedBus) error {
	h.buses.mu.Lock()
	defer h.buses.mu.Unlock()
	if b.users--; b.users > 0 {
		return nil
	}
	if h.buses.open[b.path] == b { // not one that was opened after this was gone
		delete(h.buses.open, b.path)
	}
	return b.close()
}

func (b *sharedBus) alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone == nil
}

// close closes the bus, at once or when the transfer under way has returned.
func (b *sharedBus) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveLocked(os.ErrClosed)
	select {
	case b.turn <- struct{}{}:
		return b.doneLocked()
	default:
		return nil
	}
}

func (b *sharedBus) leaveLocked(why error) {
	if b.gone == nil {
		b.gone = why
	}
}

// held reports whether a driver of the kernel has the address, which would then
// be spoken to by two. It does not wait for a transfer.
func (b *sharedBus) held(addr uint16) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h, ok := b.bus.(interface{ held(uint16) error }); ok {
		return h.held(addr)
	}
	return nil
}

func (b *sharedBus) String() string { return filepath.Base(b.path) }

func adapterGone(err error) bool {
	for _, gone := range []error{syscall.ENODEV, syscall.ESHUTDOWN, syscall.EBADF} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// explainBus says how to mend a bus that cannot be opened.
func (h *Hardware) explainBus(path string, err error) error {
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: join the group that may: sudo usermod -aG i2c %s, then start again", err, host.UserName())
	case !errors.Is(err, syscall.ENOENT):
		return err
	case filepath.Base(path) == "i2c-1":
		return fmt.Errorf("%w: switch the bus on with sudo raspi-config nonint do_i2c 0 (dtparam=i2c_arm=on and the module i2c-dev), then restart", err)
	}
	found, _ := filepath.Glob(filepath.Join(h.Dev, "i2c-*")) // the pattern is fixed
	if len(found) == 0 {
		return fmt.Errorf("%w: there is no I2C bus at all: sudo raspi-config nonint do_i2c 0 (dtparam=i2c_arm=on and the module i2c-dev) makes i2c-1", err)
	}
	return fmt.Errorf("%w: there are %s", err, host.JoinNames(found))
}
