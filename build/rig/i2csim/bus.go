// Package i2csim has an I2C bus and the parts on it, simulated at register level: a driver
// that implements the datasheet incorrectly reads wrong values.
package i2csim

import (
	"errors"
	"sync"
)

// ErrNAK means that no part answers at an address.
var ErrNAK = errors.New("no acknowledge")

// A Part is one device on the bus. A message is what is transferred between two start
// conditions; a part keeps its state between messages.
type Part interface {
	Write(data []byte)
	Read(into []byte)
}

// A Bus has parts by address. It is safe for concurrent use; the parts get one message at a
// time.
type Bus struct {
	mu     sync.Mutex
	parts  map[byte]Part
	silent map[byte]bool
}

// NewBus returns a bus with these parts, by 7-bit address.
func NewBus(parts map[byte]Part) *Bus {
	return &Bus{parts: parts, silent: map[byte]bool{}}
}

// Silence makes the part at an address stop answering, as with a broken wire, or answer
// again. It keeps its state.
func (b *Bus) Silence(address byte, silent bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.silent[address] = silent
}

// Write sends one message to a part.
func (b *Bus) Write(address byte, data []byte) error {
	return b.message(address, func(p Part) { p.Write(data) })
}

// Read reads one message from a part.
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
