// Package i2csim has an I2C bus and the parts on it, modelled at the level of
// their registers: a driver that gets the datasheet wrong gets wrong values.
package i2csim

import (
	"errors"
	"sync"
)

// ErrNAK is what a master sees when nothing answers at an address.
var ErrNAK = errors.New("no acknowledge")

// A Part is one device on the bus. A message is what lies between two start
// conditions; a part keeps its own state from message to message.
type Part interface {
	Write(data []byte)
	Read(into []byte)
}

// A Bus is parts by address. It is safe for several goroutines; the parts see
// one message at a time.
type Bus struct {
	mu     sync.Mutex
	parts  map[byte]Part
	silent map[byte]bool
}

// NewBus returns a bus with these parts by their 7-bit address.
func NewBus(parts map[byte]Part) *Bus {
	return &Bus{parts: parts, silent: map[byte]bool{}}
}

// Silence makes the part at an address stop answering, as one with a broken
// wire does, or answer again. Its state stays.
func (b *Bus) Silence(address byte, silent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silent[address] = silent
}

// Write is one message to a part.
func (b *Bus) Write(address byte, data []byte) error {
	return b.message(address, func(p Part) { p.Write(data) })
}

// Read is one message from a part.
func (b *Bus) Read(address byte, into []byte) error {
	return b.message(address, func(p Part) { p.Read(into) })
}

func (b *Bus) message(address byte, do func(Part)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.parts[address]
	if p == nil || b.silent[address] {
		return ErrNAK
	}
	do(p)
	return nil
}
