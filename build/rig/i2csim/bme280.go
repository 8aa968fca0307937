package i2csim

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// BME280Address is the address with pin SDO low.
const BME280Address = 0x76

// BME280 is Bosch's sensor of humidity, temperature and pressure, following its datasheet
// BST-BME280-DS002. Its calibration and raw values are the worked example of the BMP280's
// datasheet (BST-BMP280-DS001, 3.12), whose formulas are the same: a correct driver reads
// 25.08 °C and 1006.53 hPa. The calibration of the humidity has typical values, and gives
// 55.00 %.
// calibration of the humidity that is of a usual size.
type BME280 struct {
	registers [256]byte
	at        byte // the next register to read
	ready     time.Time
	heated    atomic.Bool
}

// Heat makes the part measure some 25 °C more than in the example, or the example's value
// again.
func (b *BME280) Heat(on bool) { b.heated.Store(on) }

// Registers, section 5.3.
const (
	bmeChipID   = 0xd0
	bmeReset    = 0xe0
	bmeCtrlHum  = 0xf2
	bmeStatus   = 0xf3
	bmeCtrlMeas = 0xf4
	bmeConfig   = 0xf5
	bmeData     = 0xf7
)

const (
	bmeResets    = 0xb6 // written to reset the part, 5.4.2
	bmeMeasuring = 0x08 // in status, 5.4.4

	bmeMeasures = 9300 * time.Microsecond // at most, with each quantity taken once, 9.1
)

// bmeSkipped are the data before the first measurement, 5.4.7 to 5.4.9.
var bmeSkipped = []byte{0x80, 0, 0, 0x80, 0, 0, 0x80, 0}

// bmeMeasured is 415148, 519888 (20 bits each, to the left) and 30000.
var bmeMeasured = []byte{0x65, 0x5a, 0xc0, 0x7e, 0xed, 0x00, 0x75, 0x30}

// NewBME280 returns a part after power-on.
func NewBME280() *BME280 {
	b := &BME280{}
	b.reset()
	return b
}

func (b *BME280) reset() {
	b.registers = [256]byte{bmeChipID: 0x60}
	copy(b.registers[bmeData:], bmeSkipped)
	dig := []int{27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000} // T1 to T3, P1 to P9
	for i, n := range dig {
		binary.LittleEndian.PutUint16(b.registers[0x88+2*i:], uint16(n))
	}
	b.registers[0xa1] = 75                                 // H1
	binary.LittleEndian.PutUint16(b.registers[0xe1:], 362) // H2; H3, in 0xe3, is 0
	const h4, h5 = 313, 50                                 // 12 bits each, which share 0xe5
	b.registers[0xe4], b.registers[0xe5], b.registers[0xe6] = h4>>4, h5<<4&0xf0|h4&0xf, h5>>4
	b.registers[0xe7] = 30 // H6
}

// Write sets the register to read, or receives pairs of register and value, 6.2.1.
func (b *BME280) Write(data []byte) {
	if len(data) == 1 {
		b.at = data[0]
	}
	for ; len(data) >= 2; data = data[2:] {
		b.set(data[0], data[1])
	}
}

func (b *BME280) set(register, value byte) {
	switch register {
	case bmeReset:
		if value == bmeResets {
			b.reset()
		}
	case bmeCtrlHum, bmeConfig:
		b.registers[register] = value
	case bmeCtrlMeas:
		b.registers[register] = value
		switch value & 3 {
		case 1, 2: // forced, 3.3.3
			b.measure()
			b.registers[register] &^= 3 // back to sleep mode
		case 3: // normal, 3.3.4: measures repeatedly, here always the same values
			b.measure()
		}
	}
}

// measure updates the quantities that are not skipped: those with an oversampling other
// than 0.
func (b *BME280) measure() {
	b.ready = time.Now().Add(bmeMeasures)
	data := b.registers[bmeData:]
	copy(data, bmeSkipped)
	if b.registers[bmeCtrlMeas]>>2&7 != 0 {
		copy(data[0:3], bmeMeasured[0:3])
	}
	if b.registers[bmeCtrlMeas]>>5 != 0 {
		copy(data[3:6], bmeMeasured[3:6])
		if b.heated.Load() {
			data[3] += 0x14 // 81920 of 2^20
		}
	}
	if b.registers[bmeCtrlHum]&7 != 0 {
		copy(data[6:8], bmeMeasured[6:8])
	}
}

// Read returns registers in order, starting with the one that was set.
func (b *BME280) Read(into []byte) {
	b.registers[bmeStatus] = 0
	if time.Now().Before(b.ready) {
		b.registers[bmeStatus] = bmeMeasuring
	}
	for i := range into {
		into[i] = b.registers[b.at]
		b.at++
	}
}
