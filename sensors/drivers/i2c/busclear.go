package i2c

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
)

// busWire is SDA or SCL as an open-drain output: it is driven low, or released and pulled high
// by its resistor. Driving it high while a part holds it low would be a short circuit.
type busWire interface {
	Set(high bool) error
	Level() (high bool, err error)
	Close() error
}

// halfClock gives at most 100 kHz, which every part supports. A slower clock does no harm: SMBus
// allows 25 ms.
const halfClock = 5 * time.Microsecond

// clock sends clocks on the lines of a bus, after its driver has released them.
func (bs *Buses) clock(sdaAt, sclAt gpio.Place) (clocks int, err error) {
	open := bs.openWire
	if open == nil {
		open = func(at gpio.Place) (busWire, error) { return gpio.OpenDrainLine(at) }
	}
	scl, err := open(sclAt)
	if err != nil {
		return 0, fmt.Errorf("SCL at %v: %w", sclAt, err)
	}
	defer scl.Close()
	sda, err := open(sdaAt)
	if err != nil {
		return 0, fmt.Errorf("SDA at %v: %w", sdaAt, err)
	}
	defer sda.Close()
	return clearBus(sda, scl)
}

// clearBus clears the bus as in UM10204 3.1.16: a part that holds SDA low releases it within
// nine clocks, at the end of the byte that it is sending. Then comes a STOP, so that the part
// does not take the next START for data.
func clearBus(sda, scl busWire) (clocks int, err error) {
	steps := bitBang{}
	for ; ; clocks++ {
		if steps.high(scl); steps.err == nil && !steps.isHigh(scl) {
			return clocks, errors.Join(steps.err, errors.New("SCL is held low: clocks cannot help; "+
				"look for a short, or cut the power of the parts"))
		}
		if steps.err != nil || steps.isHigh(sda) {
			break
		}
		if clocks == 9 {
			return clocks, errors.Join(steps.err, errors.New("SDA is low after nine clocks: "+
				"look for a short, or cut the power of the parts"))
		}
		steps.low(scl)
	}
	steps.low(scl)
	steps.low(sda)
	steps.high(scl)
	steps.high(sda) // SDA that rises while SCL is high is a STOP
	return clocks, steps.err
}

// bitBang keeps the first error of many steps, and does nothing after it.
type bitBang struct{ err error }

func (b *bitBang) low(w busWire)  { b.set(w, false) }
func (b *bitBang) high(w busWire) { b.set(w, true) }

func (b *bitBang) set(w busWire, high bool) {
	if b.err == nil {
		b.err = w.Set(high)
		time.Sleep(halfClock)
	}
}

func (b *bitBang) isHigh(w busWire) (high bool) {
	if b.err == nil {
		high, b.err = w.Level()
	}
	return high
}
