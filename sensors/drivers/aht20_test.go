package drivers

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// aht20Reply is a measurement: status 0x18 (calibrated, idle), 20 bits of
// humidity, 20 bits of temperature, checksum from 0xFF (5.4, step 4).
func aht20Reply(rh, temp uint32) []byte {
	r := []byte{0x18, byte(rh >> 12), byte(rh >> 4), byte(rh<<4) | byte(temp>>16), byte(temp >> 8), byte(temp)}
	return append(r, i2c.CRC8(0xff, r))
}

// aht20Ops are opening and one measurement that is answered so.
func aht20Ops(reply []byte) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x38, W: []byte{0xba}}, // reset
		{Addr: 0x38, R: []byte{0x18}},
		{Addr: 0x38, R: aht20Reply(0, 0)[:6]},
		{Addr: 0x38, W: []byte{0xac, 0x33, 0x00}}, // measure
		{Addr: 0x38, R: []byte{0x98}},             // it does
		{Addr: 0x38, R: reply},
	}
}

// The datasheet's conversion, section 6: RH = S/2^20 * 100 %, T = S/2^20 * 200 -
// 50 °C. 0x80000 is 50 %; 0x60000 is 0.375 * 200 - 50 = 25 °C; 0x33333 is
// 0.2 * 200 - 50 = -10 °C.
func TestAHT20MeasuresAsItsDatasheetSays(t *testing.T) {
	readsClimate(t, newAHT20(), aht20Ops(aht20Reply(0x80000, 0x60000)), 50, 25)
	readsClimate(t, newAHT20(), aht20Ops(aht20Reply(0x73b64, 0x33333)), 45.2, -10)
	readsClimate(t, newAHT20(), aht20Ops(aht20Reply(0xfffff, 0x0cccd)), 100, -40)
}

func TestUncalibratedAHT20IsCalibrated(t *testing.T) {
	ops := aht20Ops(aht20Reply(0x80000, 0x60000))
	ops[1].R = []byte{0x10}
	ops = slices.Insert(ops, 2, i2ctest.IO{Addr: 0x38, W: []byte{0xbe, 0x08, 0x00}})
	readsClimate(t, newAHT20(), ops, 50, 25)
}

func TestAHT20ConversionIsAwaited(t *testing.T) {
	ops := aht20Ops(aht20Reply(0x80000, 0x60000))
	busy := aht20Reply(0x12345, 0x54321)
	busy[0] = 0x98
	busy[6] = i2c.CRC8(0xff, busy[:6])
	ops = slices.Insert(ops, 5, i2ctest.IO{Addr: 0x38, R: busy}, i2ctest.IO{Addr: 0x38, R: busy})
	readsClimate(t, newAHT20(), ops, 50, 25)
}

func TestAHT20ImpossibleReplyIsRejected(t *testing.T) {
	uncalibrated := aht20Reply(0x80000, 0x60000)
	uncalibrated[0] = 0x10
	uncalibrated[6] = i2c.CRC8(0xff, uncalibrated[:6])
	for want, reply := range map[string][]byte{
		"lost its calibration":         uncalibrated,
		"temperature -50 °C is beyond": aht20Reply(0x80000, 0),
		"temperature 150 °C is beyond": aht20Reply(0x80000, 0xfffff),
		"reads only 0x00":              make([]byte, 7),
		"reads only 0xff":              slices.Repeat([]byte{0xff}, 7),
	} {
		failsWith(t, newAHT20(), aht20Ops(reply), "i2c-1 0x38: "+want)
	}
	for bit := range 8 * 7 {
		reply := aht20Reply(0x80000, 0x60000)
		reply[bit/8] ^= 1 << (bit % 8)
		failsWith(t, newAHT20(), aht20Ops(reply), "i2c-1 0x38: wrong checksum 0x")
	}
}

func TestAHT20TimesOutOnAStuckBus(t *testing.T) {
	for b := range 256 {
		synctest.Test(t, func(t *testing.T) {
			bus, start := i2cfake.Reading(byte(b)), time.Now()
			samples, err := once(t, newAHT20(), bus)
			if err == nil {
				t.Errorf("0x%02x: took %v for a measurement", b, samples)
			}
			if took := time.Since(start); took > 500*time.Millisecond || bus.Count > i2c.MaxTransfers {
				t.Errorf("0x%02x: took %v and %d transfers", b, took, bus.Count)
			}
		})
	}
}

// ahtFrames are a measurement of each kind.
var ahtFrames = map[string][]byte{"aht10": aht10Reply(0x80000, 0x60000), "aht20": aht20Reply(0x80000, 0x60000)}

// stuckAHT is a part that has measured once and makes no other measurement,
// busy or not, until it is reset.
type stuckAHT struct {
	frame []byte
	cured func() // by the reset
}

func (s *stuckAHT) tx(_ int, _ uint16, w, r []byte) error {
	if len(w) > 0 && w[0] == 0xba {
		s.cured()
	}
	copy(r, s.frame)
	return nil
}

// A part that hangs in the middle of a measurement is recovered by the reset when it is opened again;
// closing the bus has no effect.
func TestOpenRecoversAStuckAHT(t *testing.T) {
	for kind, idle := range ahtFrames {
		synctest.Test(t, func(t *testing.T) {
			stuck := &stuckAHT{frame: slices.Clone(idle)}
			stuck.frame[0] |= ahtBusy
			stuck.cured = func() { stuck.frame = idle }
			o, _ := New(kind)
			s, err := o.Open(t.Context(), wired(&i2cfake.Bus{Answer: stuck.tx}))
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAHTRepeatedMeasurementIsRejected(t *testing.T) {
	for kind, frame := range ahtFrames {
		for name, c := range map[string]struct {
			busy  bool          // right after the command
			takes time.Duration // to read that
			good  bool
		}{
			"it has measured the same again": {true, 0, true},
			"it does not measure":            {false, 0, false},
			"nobody could tell":              {false, 50 * time.Millisecond, true},
		} {
			synctest.Test(t, func(t *testing.T) {
				bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
					copy(r, frame)
					if len(r) == 1 && len(w) == 0 {
						time.Sleep(c.takes)
						if c.busy {
							r[0] |= ahtBusy
						}
					}
					return nil
				}}
				o, _ := New(kind)
				samples, err := once(t, o, bus)
				if good := err == nil; good != c.good || !good &&
					!strings.Contains(err.Error(), "repeats its last measurement") {
					t.Errorf("%s, %s: %v, %v", kind, name, samples, err)
				}
			})
		}
	}
}

// A part that stops measuring is detected at the first repeated value.
func TestAHTThatStopsMeasuringIsDetected(t *testing.T) {
	for kind, frame := range ahtFrames {
		synctest.Test(t, func(t *testing.T) {
			n, works := 0, true // measurements
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
				if len(w) > 0 && w[0] == 0xac && works {
					n++
				}
				copy(r, frame)
				if len(r) > 5 {
					r[5] += byte(n)
				}
				if len(r) == 7 {
					r[6] = i2c.CRC8(0xff, r[:6])
				}
				if len(r) == 1 && n > 0 && works {
					r[0] |= ahtBusy
				}
				return nil
			}}
			o, _ := New(kind)
			s, err := o.Open(t.Context(), wired(bus))
			if err != nil {
				t.Fatal(kind, err)
			}
			for range 3 {
				if _, err := s.Next(t.Context()); err != nil {
					t.Fatal(kind, err)
				}
			}
			works = false
			if samples, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "repeats") {
				t.Error(kind, samples, err)
			}
		})
	}
}
