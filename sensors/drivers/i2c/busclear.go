package i2c

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
)

// busWire is SDA or SCL. It is driven low, or released and pulled high by its
// resistor: a wire that is driven high against a part that holds it low is a short.
type busWire interface {
	Set(high bool) error
	Level() (high bool, err error)
	Close() error
}

// halfClock makes 100 kHz, which every part understands; SMBus has no upper
// bound for it below 25 ms.
const halfClock = 5 * time.Microsecond

// clock sends clocks on the lines of a bus, which must not be held by its driver.
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
	return nineClocks(sda, scl)
}

// nineClocks is UM10204 3.1.16, bus clear: a part that holds SDA low lets go of
// it within nine clocks, at the end of the byte that it thinks it is sending. Then
// comes a STOP, so that it does not take the next START for data.
func nineClocks(sda, scl busWire) (clocks int, err error) {
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
