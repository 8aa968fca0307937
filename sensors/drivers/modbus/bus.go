package modbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/simonvetter/modbus"
	"golang.org/x/sys/unix"
)

// noLog discards the log of the library: its errors contain the same information.
var noLog = log.New(io.Discard, "", 0)

// Buses are the buses in use. All sensors of a bus share one connection. The zero value is ready.
// It is safe for concurrent use, and must not be copied.
type Buses struct {
	mu   sync.Mutex
	open map[string]*Bus // by name; guarded by mu
}

// A Bus is one serial line or one host. It makes one request at a time, and is safe for concurrent
// use.
type Bus struct {
	buses    *Buses
	settings Settings
	users    int // guarded by buses.mu

	// token holds a value during a request. Who put it there may use client and silent. It is
	// not a mutex, so that a wait for it can end with a context.
	token  chan struct{}
	client *modbus.ModbusClient // nil while there is no connection
	silent time.Time            // a late answer to a failed request may arrive until then

	mu     sync.Mutex
	holder holder // who has the token; guarded by mu
}

// A holder is the current request.
type holder struct {
	unit  byte
	since time.Time // zero: there is none
}

// maxHold is how long one request may hold the bus: at most three seconds for a late answer to an
// earlier one, three for its own, and five for a connection.
const maxHold = 15 * time.Second

// Acquire returns the bus with these settings, and does not connect yet. Each call needs one
// Release. It returns an error while the bus is in use with other settings.
func (bs *Buses) Acquire(s Settings) (*Bus, error) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if b := bs.open[s.Name()]; b != nil {
		if b.settings != s {
			return nil, fmt.Errorf("%s is in use with other settings (%v)", s.Name(), b.settings)
		}
		b.users++
		return b, nil
	}
	if bs.open == nil {
		bs.open = map[string]*Bus{}
	}
	b := &Bus{buses: bs, settings: s, users: 1, token: make(chan struct{}, 1)}
	bs.open[s.Name()] = b
	return b, nil
}

// Release closes the connection after the last user. The caller must have no request running.
func (b *Bus) Release() error {
	b.buses.mu.Lock()
	b.users--
	last := b.users == 0
	if last {
		delete(b.buses.open, b.settings.Name())
	}
	b.buses.mu.Unlock()
	if !last {
		return nil
	}
	b.token <- struct{}{} // does not block: no request is running
	defer func() { <-b.token }()
	return b.disconnect()
}

// A Register says what is read from a unit.
type Register struct {
	Table   Table
	Address uint16 // as on the wire, from 0
	Type    Type   // of a register; a coil and a discrete input are 0 or 1
	Order   Order  // of a value in two registers
}

// Read reads a value of a unit (1 to 247; 0 to 255 by TCP). If only this register is wrong, the
// error is a [*RegisterError], and the bus stays connected. After any other error it disconnects,
// and the next request waits until no late answer can arrive: a frame of Modbus RTU does not say
// to which request it belongs.
func (b *Bus) Read(ctx context.Context, unit byte, r Register) (float64, error) {
	if err := b.lock(ctx, unit); err != nil {
		return 0, err
	}
	defer b.unlock()
	if err := b.connect(ctx); err != nil {
		return 0, err
	}
	if err := b.client.SetUnitId(unit); err != nil {
		return 0, err
	}
	words, err := r.read(b.client)
	var code modbus.Error
	errors.As(err, &code)
	why, alone := refusals[code]
	if err == nil {
		v, ok := r.value(words)
		if ok {
			return v, nil
		}
		why, alone = notNumber, true
	}
	if alone {
		return 0, &RegisterError{b.settings.Name(), unit, r, why}
	}
	if b.settings.Device != "" { // an answer by TCP says to which request it belongs
		b.silent = time.Now().Add(b.settings.Timeout)
	}
	return 0, errors.Join(b.explain(err, unit), b.disconnect())
}

// lock waits until the bus is free. It returns an error if another request holds it longer than
// maxHold. It needs this limit of its own, because the wait does not count as time of the sampler's
// call.
func (b *Bus) lock(ctx context.Context, unit byte) error {
	defer sensors.Waiting(ctx)()
	for {
		before := b.currentHolder()
		timer := time.NewTimer(before.left())
		select {
		case b.token <- struct{}{}:
			timer.Stop()
			b.setHolder(holder{unit, time.Now()})
			return nil
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s: waiting for other sensors: %w", b.settings.Name(), ctx.Err())
		case <-timer.C:
		}
		if now := b.currentHolder(); now == before && now.left() <= 0 {
			return fmt.Errorf("%s is busy: unit %d has not returned for %v", b.settings.Name(), now.unit,
				time.Since(now.since).Truncate(time.Second))
		}
	}
}

// unlock releases the bus.
func (b *Bus) unlock() {
	b.setHolder(holder{})
	<-b.token
}

// setHolder records who has the token. The caller has it.
func (b *Bus) setHolder(h holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holder = h
}

// currentHolder returns who has the token.
func (b *Bus) currentHolder() holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holder
}

// left returns how long the request may still hold the bus.
func (h holder) left() time.Duration {
	if h.since.IsZero() {
		return maxHold // it has just been released or acquired
	}
	return maxHold - time.Since(h.since)
}

// connect connects if there is no connection. The caller has the token.
func (b *Bus) connect(ctx context.Context) error {
	if b.client != nil {
		return nil
	}
	late := time.NewTimer(time.Until(b.silent))
	defer late.Stop()
	select {
	case <-late.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if b.settings.Device != "" {
		if err := checkDevice(b.settings.Device); err != nil {
			return b.explainOpen(err)
		}
	}
	client, err := b.settings.client()
	if err == nil {
		err = client.Open() // it also discards old input of the line
	}
	if err != nil {
		return b.explainOpen(err)
	}
	b.client = client
	return nil
}

// checkDevice checks that a device is a serial line and that the agent may use it. The errors of
// the library do not contain the errno.
func checkDevice(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err
}

// disconnect closes the connection if there is one. The caller has the token.
func (b *Bus) disconnect() error {
	if b.client == nil {
		return nil
	}
	client := b.client
	b.client = nil
	return client.Close()
}
