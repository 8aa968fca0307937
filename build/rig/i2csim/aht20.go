package i2csim

import (
	"math"
	"sync"
	"time"
)

// AHT20Address is the only address of the part.
const AHT20Address = 0x38

// AHT20 is Aosong's humidity and temperature sensor, following its datasheet V1.1. It
// starts without calibration, like the lots that need the initialisation of section 5.4,
// and a measurement takes its time: a read that comes too early returns the busy bit. The
// zero value measures 0 °C and 0 %.
type AHT20 struct {
	mu               sync.Mutex
	celsius, percent float64

	calibrated bool
	result     [6]byte // status and data of the last measurement
	ready      time.Time
}

// Commands, section 5.3.
const (
	aht20Status  = 0x71
	aht20Init    = 0xbe
	aht20Trigger = 0xac
	aht20Reset   = 0xba
)

// Status bits, table 8.
const (
	aht20Busy       = 0x80
	aht20Calibrated = 0x08
)

const aht20Measures = 75 * time.Millisecond // section 5.4: wait 80 ms

// Set sets the measured values.
func (a *AHT20) Set(celsius, percent float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.celsius, a.percent = celsius, percent
}

// Write receives a command.
func (a *AHT20) Write(data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case starts(data, aht20Init, 0x08, 0x00):
		a.calibrated = true
	case starts(data, aht20Reset):
		a.calibrated = false
	case starts(data, aht20Trigger, 0x33, 0x00):
		a.ready = time.Now().Add(aht20Measures)
		a.result = a.measure()
	}
}

// Read returns the status, five bytes of data and their checksum; a plain read and one
// after the status command start in the same way.
func (a *AHT20) Read(into []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.result
	out[0] = a.status()
	for i := range into {
		into[i] = 0xff // nothing drives the line low any more
	}
	copy(into, append(out[:], CRC8(out[:])))
}

func (a *AHT20) status() (s byte) {
	if a.calibrated {
		s |= aht20Calibrated
	}
	if time.Now().Before(a.ready) {
		s |= aht20Busy
	}
	return s
}

// measure packs two numbers of 20 bits, section 6:
// RH = n / 2^20 * 100 %, T = n / 2^20 * 200 °C - 50 °C.
func (a *AHT20) measure() [6]byte {
	h := twentyBits(a.percent / 100)
	t := twentyBits((a.celsius + 50) / 200)
	return [6]byte{1: byte(h >> 12), byte(h >> 4), byte(h<<4) | byte(t>>16), byte(t >> 8), byte(t)}
}

func twentyBits(part float64) uint32 {
	const full = 1 << 20
	return uint32(min(max(math.Round(part*full), 0), full-1))
}

// CRC8 is the checksum of Aosong and Sensirion: polynomial x^8+x^5+x^4+1, initial value
// 0xff, section 5.4.
func CRC8(data []byte) byte {
	sum := byte(0xff)
	for _, b := range data {
		sum ^= b
		for range 8 {
			carry := sum&0x80 != 0
			sum <<= 1
			if carry {
				sum ^= 0x31
			}
		}
	}
	return sum
}

func starts(data []byte, want ...byte) bool {
	return len(data) >= len(want) && string(data[:len(want)]) == string(want)
}
