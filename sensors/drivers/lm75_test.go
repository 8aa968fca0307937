package drivers

import (
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c/i2ctest"
)

// lm75Ops are opening and one measurement; the alarm limits are those of
// power-up, 75 and 80 °C (datasheet SNOS808, 7.5).
func lm75Ops(config byte, temp ...byte) []i2ctest.IO {
	check := []i2ctest.IO{
		{Addr: 0x48, W: []byte{1}, R: []byte{config}},
		{Addr: 0x48, W: []byte{2}, R: []byte{0x4b, 0x00}},
		{Addr: 0x48, W: []byte{3}, R: []byte{0x50, 0x00}},
	}
	ops := append([]i2ctest.IO{{Addr: 0x48, W: []byte{1, config}}}, check...)
	ops = append(ops, i2ctest.IO{Addr: 0x48, W: []byte{0}, R: temp})
	return append(ops, check...)
}

// An LM75 has 9 bits of 0.5 °C: 0 1111 1010 is 125 °C, 0 0000 0001 0.5 °C, 1 1111
// 1111 -0.5 °C, 1 1100 1110 -25 °C, 1 1001 0010 -55 °C (table 1). An LM75B has 11 of
// 0.125 °C: 000 1100 1000 is 25 °C, 111 1111 1111 -0.125 °C. What is below is undefined.
func TestLM75MeasuresAsItsDatasheetSays(t *testing.T) {
	for temp, want := range map[[2]byte]float64{
		{0x7d, 0x00}: 125, {0x00, 0x80}: 0.5, {0xff, 0x80}: -0.5, {0xe7, 0x00}: -25, {0xc9, 0x00}: -55, {0x00, 0x00}: 0,
		{0x19, 0x00}: 25, {0x19, 0x20}: 25.13, {0xff, 0xe0}: -0.13, {0x19, 0x1f}: 25,
	} {
		measures(t, newLM75(), lm75Ops(0x08, temp[:]...), "temperature", want)
	}
}

func TestDS75UsesTheConfiguredBits(t *testing.T) {
	for bits, want := range map[uint8]struct {
		config byte
		value  float64
	}{9: {0x08, 10}, 10: {0x28, 10}, 11: {0x48, 10.13}, 12: {0x68, 10.19}} {
		o := newLM75().(*lm75Options)
		o.Bits = bits
		measures(t, o, lm75Ops(want.config, 0x0a, 0x30), "temperature", want.value) // 0x0a2 is 10.125 °C
	}
}

func TestLM75TakesNineToTwelveBits(t *testing.T) {
	for bits, good := range map[uint8]bool{0: true, 8: false, 9: true, 12: true, 13: false} {
		o := newLM75().(*lm75Options)
		o.Bits = bits
		if p := o.Check(); (p == nil) != good {
			t.Errorf("%d: %v", bits, p)
		}
	}
}

// Whoever wants no alarm sets the upper limit as high as it goes: 127.5 °C in the
// nine bits of an LM75, 127.9375 °C in twelve.
func TestLM75WithItsAlarmOffIsAccepted(t *testing.T) {
	for _, limit := range [][]byte{{0x7f, 0x80}, {0x7f, 0xf0}, {0x7d, 0x80}} {
		ops := lm75Ops(0x08, 0x19, 0x00)
		ops[3].R, ops[7].R = limit, limit
		measures(t, newLM75(), ops, "temperature", 25)
	}
}

func TestLM75WithImpossibleRegistersIsRejected(t *testing.T) {
	at := func(n int, r ...byte) []i2ctest.IO {
		ops := lm75Ops(0x08, 0x19, 0x00)
		ops[n].R = r
		return ops
	}
	for want, ops := range map[string][]i2ctest.IO{
		"reads only 0xff": at(4, 0xff, 0xff),
		"this is not an LM75: its alarm limits are 0x4b00 and 0x7fff": at(3, 0x7f, 0xff), // an ADS1115
		"this is not an LM75: its alarm limits are 0x8000 and 0x5000": at(2, 0x80, 0x00),
		"settings read 0x85, not 0x08 (is it an LM75?":                at(1, 0x85),
		"settings read 0x00, not 0x08 (is it an LM75? has its powe":   at(5, 0x00),
		"temperature -128 °C is beyond":                               at(4, 0x80, 0x00),
	} {
		refuses(t, newLM75(), ops, "i2c-1 0x48: "+want)
	}
	o := newLM75().(*lm75Options)
	o.Bits = 12
	ops := lm75Ops(0x68, 0x19, 0x00)
	ops[1].R = []byte{0x08}
	refuses(t, o, ops, "i2c-1 0x48: this part has no choice of resolution")
}

func TestLM75FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, newLM75(), lm75Ops(0x08, 0x19, 0), "i2c-1 0x48")
	survivesDeadBus(t, newLM75(), lm75Ops(0x08, 0x19, 0), time.Second)
}

func FuzzLM75(f *testing.F) {
	f.Add(byte(0x08), []byte{0x19, 0x00}, []byte{0x4b, 0x00}, []byte{0x50, 0x00})
	f.Add(byte(0xff), []byte{0xff, 0xff}, []byte{0xff, 0xff}, []byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, config byte, temp, low, high []byte) {
		synctest.Test(t, func(t *testing.T) {
			within(t, newLM75(), answers(map[byte][]byte{0: temp, 1: {config}, 2: low, 3: high}), limits{-55, 125})
		})
	})
}
