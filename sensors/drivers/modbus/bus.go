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

// noLog takes what the library logs: its errors say the same.
var noLog = log.New(io.Discard, "", 0)

// Buses are the buses in use, each with one connection however many sensors read from it.
// The zero value is ready. It is safe for concurrent use, and not to be copied.
type Buses struct {
	mu   sync.Mutex
	open map[string]*Bus // by name; guarded by mu
}

// A Bus is one serial line or one host, for one request at a time. It is safe for concurrent
// use.
type Bus struct {
	buses    *Buses
	settings Settings
	users    int // guarded by buses.mu

	// token has a value in it while a request is under way; whoever put it there may touch
	// what follows. It is not a mutex, so that a wait for it ends with its context.
	token  chan struct{}
	client *modbus.ModbusClient // nil while there is no connection
	silent time.Time            // until then an answer to a failed request may still come

	mu     sync.Mutex
	holder holder // who has the token; guarded by mu
}

// A holder is the request that is under way.
type holder struct {
	unit  byte
	since time.Time // zero: there is none
}

// maxHold is how long one request may have the bus: it waits for a late answer and for its
// own, at most three seconds each, and five seconds for a connection.
const maxHold = 15 * time.Second

// Acquire returns the bus with these settings, and does not connect yet. Each call takes one
// Release. It is an error while others use the bus with other settings.
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

// Release closes the connection after the last user. No request of the caller may be under
// way.
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
	b.token <- struct{}{} // nobody has it: each user has returned from its last request
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

// Read reads a value of a unit (1 to 247; 0 to 255 by TCP). What is wrong with this register
// alone is a [*RegisterError], and the bus stays connected. After any other failure it is
// disconnected: what arrives late would be taken for the answer to the next request, since a
// frame of Modbus RTU does not say what it answers. The next request then waits until an
// answer may no longer come.
func (b *Bus) Read(ctx context.Context, unit byte, r Register) (float64, error) {
	if err := b.take(ctx, unit); err != nil {
		return 0, err
	}
	defer b.give()
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

// take waits for the turn of a request, as long as those before it come back: the time of
// the sampler's call stands still meanwhile, so it would not end a wait for one that hangs.
func (b *Bus) take(ctx context.Context, unit byte) error {
	defer sensors.Waiting(ctx)()
	for {
		before := b.held()
		timer := time.NewTimer(before.left())
		select {
		case b.token <- struct{}{}:
			timer.Stop()
			b.hold(holder{unit, time.Now()})
			return nil
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s: waiting for other sensors: %w", b.settings.Name(), ctx.Err())
		case <-timer.C:
		}
		if now := b.held(); now == before && now.left() <= 0 {
			return fmt.Errorf("%s is busy: unit %d has not returned for %v", b.settings.Name(), now.unit,
				time.Since(now.since).Truncate(time.Second))
		}
	}
}

// give lets the next request have its turn.
func (b *Bus) give() {
	b.hold(holder{})
	<-b.token
}

// hold notes who has the token. Only whoever has it calls this.
func (b *Bus) hold(h holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holder = h
}

// held is who has the token.
func (b *Bus) held() holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holder
}

// left is how long it may still have the bus.
func (h holder) left() time.Duration {
	if h.since.IsZero() {
		return maxHold // it has just been given back, or taken
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
		err = client.Open() // it drops what the line has received meanwhile
	}
	if err != nil {
		return b.explainOpen(err)
	}
	b.client = client
	return nil
}

// checkDevice reports why a device cannot be a serial line that the agent may use: the
// library's errors hide the number of the error, and it logs on its own.
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
