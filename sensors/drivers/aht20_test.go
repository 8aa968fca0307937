package drivers

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c/i2ctest"
)

// aht20Reply is a measurement: status 0x18 (calibrated, idle), 20 bits of
// humidity, 20 bits of temperature, checksum from 0xFF (5.4, step 4).
func aht20Reply(rh, temp uint32) []byte {
	r := []byte{0x18, byte(rh >> 12), byte(rh >> 4), byte(rh<<4) | byte(temp>>16), byte(temp >> 8), byte(temp)}
	return append(r, crc8(0xff, r))
}

// aht20Ops are opening and one measurement that is answered so.
func aht20Ops(reply []byte) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x38, W: []byte{0x71}, R: []byte{0x18}},
		{Addr: 0x38, W: []byte{0xac, 0x33, 0x00}},
		{Addr: 0x38, R: reply},
	}
}

// The datasheet's conversion, section 6: RH = S/2^20 * 100 %, T = S/2^20 * 200 -
// 50 °C. 0x80000 is 50 %; 0x60000 is 0.375 * 200 - 50 = 25 °C; 0x33333 is
// 0.2 * 200 - 50 = -10 °C.
func TestAHT20MeasuresAsItsDatasheetSays(t *testing.T) {
	for _, c := range []struct {
		rh, temp uint32
		want     []float64
	}{
		{0x80000, 0x60000, []float64{50, 25}},
		{0x73b64, 0x33333, []float64{45.2, -10}},
		{0xfffff, 0x0cccd, []float64{100, -40}},
	} {
		synctest.Test(t, func(t *testing.T) {
			bus := &i2ctest.Playback{Ops: aht20Ops(aht20Reply(c.rh, c.temp)), DontPanic: true}
			samples, err := once(t, newAHT20(), bus)
			names, got := values(samples)
			if err != nil || names != "humidity temperature" || !slices.Equal(got, c.want) {
				t.Errorf("%s %v, %v; want %v", names, got, err, c.want)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAHT20IsCalibratedWhereItIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := aht20Ops(aht20Reply(0x80000, 0x60000))
		ops[0].R = []byte{0x10}
		ops = slices.Insert(ops, 1, i2ctest.IO{Addr: 0x38, W: []byte{0xbe, 0x08, 0x00}})
		bus := &i2ctest.Playback{Ops: ops, DontPanic: true}
		if _, err := once(t, newAHT20(), bus); err != nil {
			t.Error(err)
		}
	})
}

func TestAHT20ReplyThatCannotBeTrueIsRefused(t *testing.T) {
	corrupt := aht20Reply(0x80000, 0x60000)
	corrupt[6] ^= 1
	uncalibrated := aht20Reply(0x80000, 0x60000)
	uncalibrated[0] = 0x10
	uncalibrated[6] = crc8(0xff, uncalibrated[:6])
	for name, c := range map[string]struct {
		reply []byte
		want  string
	}{
		"bad CRC":      {corrupt, "i2c-1 0x38: wrong checksum"},
		"uncalibrated": {uncalibrated, "i2c-1 0x38: lost its calibration"},
		"too cold":     {aht20Reply(0x80000, 0), "i2c-1 0x38: temperature -50 °C is beyond"},
		"all 0x00":     {make([]byte, 7), "i2c-1 0x38: "},
	} {
		synctest.Test(t, func(t *testing.T) {
			samples, err := once(t, newAHT20(), &i2ctest.Playback{Ops: aht20Ops(c.reply), DontPanic: true})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || samples != nil {
				t.Errorf("%s: %v, %v", name, samples, err)
			}
		})
	}
}

func TestAHT20EndsInTimeOnABusThatReadsTheSameForEver(t *testing.T) {
	for b := range 256 {
		synctest.Test(t, func(t *testing.T) {
			bus, start := reading(byte(b)), time.Now()
			samples, err := once(t, newAHT20(), bus)
			if err == nil {
				t.Errorf("0x%02x: took %v for a measurement", b, samples)
			}
			if took := time.Since(start); took > 300*time.Millisecond || bus.count > mostTransfers {
				t.Errorf("0x%02x: took %v and %d transfers", b, took, bus.count)
			}
		})
	}
}

func TestAHT20FailsWithTheErrnoWhereverTheAcknowledgeIsMissing(t *testing.T) {
	for n := range 3 {
		synctest.Test(t, func(t *testing.T) {
			bus := failAt(&i2ctest.Playback{Ops: aht20Ops(aht20Reply(0x80000, 0x60000)), DontPanic: true}, n, syscall.EREMOTEIO)
			_, err := once(t, newAHT20(), bus)
			if !errors.Is(err, syscall.EREMOTEIO) || err.Error() != "i2c-1 0x38: no acknowledge" {
				t.Errorf("transfer %d: %v", n, err)
			}
			if bus.count != n+1 || bus.closed != 1 {
				t.Errorf("transfer %d: %d transfers, closed %d times", n, bus.count, bus.closed)
			}
		})
	}
}
