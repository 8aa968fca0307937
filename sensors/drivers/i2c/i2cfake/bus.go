// Package i2cfake has an I2C bus for tests, which answers transfers with a function and counts them. The
// program does not import it.
package i2cfake

import (
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// A Bus answers each transfer with a function and counts. It has no lock, so that
// the race detector sees two transfers at a time.
type Bus struct {
	Answer func(n int, addr uint16, w, r []byte) error // n counts from 0
	Count  int                                         // transfers so far
	Closed int                                         // calls of Close
}

// Tx implements [i2c.Bus].
func (b *Bus) Tx(addr uint16, w, r []byte) error {
	n := b.Count
	b.Count++
	return b.Answer(n, addr, w, r)
}

// SetSpeed implements [i2c.Bus].
func (b *Bus) SetSpeed(physic.Frequency) error { return nil }

func (b *Bus) String() string { return "fake" }

// Close counts; the bus still answers.
func (b *Bus) Close() error { b.Closed++; return nil }

// FailAt returns a bus whose nth transfer fails, counted from 0.
func FailAt(bus i2c.Bus, n int, err error) *Bus {
	return &Bus{Answer: func(i int, addr uint16, w, r []byte) error {
		if i == n {
			return err
		}
		return bus.Tx(addr, w, r)
	}}
}

// Reading returns a bus on which every byte reads the same, like a dead one.
func Reading(b byte) *Bus {
	return &Bus{Answer: func(_ int, _ uint16, _, r []byte) error {
		for i := range r {
			r[i] = b
		}
		return nil
	}}
}

// NoClose is a bus that stays open.
type NoClose struct{ i2c.Bus }

// Close does nothing.
func (NoClose) Close() error { return nil }
