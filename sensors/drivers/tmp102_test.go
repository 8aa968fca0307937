package drivers

import (
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c/i2ctest"
)

// tmp102Ops are opening and one measurement: the settings read back with the
// alert bit, which reads 1 while all is well (datasheet SBOS397, 6.5.3).
func tmp102Ops(temp ...byte) []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x48, W: []byte{1, 0x68, 0x80}},
		{Addr: 0x48, W: []byte{1}, R: []byte{0x68, 0xa0}},
		{Addr: 0x48, W: []byte{0}, R: temp},
		{Addr: 0x48, W: []byte{1}, R: []byte{0x68, 0xa0}},
	}
}

// Table 6-2 of the datasheet, shifted by the four low bits: 0x4b0 is 75 °C,
// 0x190 25 °C, 0x004 0.25 °C, 0xffc -0.25 °C, 0xe70 -25 °C, 0xc90 -55 °C.
func TestTMP102MeasuresAsItsDatasheetSays(t *testing.T) {
	for temp, want := range map[[2]byte]float64{
		{0x4b, 0x00}: 75, {0x19, 0x00}: 25, {0x00, 0x40}: 0.25, {0x00, 0x00}: 0,
		{0xff, 0xc0}: -0.25, {0xe7, 0x00}: -25, {0xc9, 0x00}: -55, {0x7d, 0x00}: 125,
	} {
		measures(t, newTMP102(), tmp102Ops(temp[:]...), "temperature", want)
	}
}

func TestTMP102WithOtherSettingsIsRejected(t *testing.T) {
	refuses(t, newTMP102(), tmp102Ops(0x7f, 0xf0), "i2c-1 0x48: temperature 127.94 °C is beyond")
	other := tmp102Ops(0, 0)
	other[1].R = []byte{0x85, 0x83}
	refuses(t, newTMP102(), other, "i2c-1 0x48: settings read 0x0583, not 0x6880 (is it a TMP102?")
	dipped := tmp102Ops(0, 0)
	dipped[3].R = []byte{0x60, 0xa0} // as power-up makes it, with 0 °C in the register
	refuses(t, newTMP102(), dipped, "i2c-1 0x48: settings read 0x6080, not 0x6880")
}

func TestTMP102FailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, newTMP102(), tmp102Ops(0x19, 0), "i2c-1 0x48")
	survivesDeadBus(t, newTMP102(), tmp102Ops(0x19, 0), time.Second)
}

func FuzzTMP102(f *testing.F) {
	f.Add([]byte{0x68, 0xa0}, []byte{0xe7, 0x00})
	f.Add([]byte{0xff, 0xff}, []byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, config, temp []byte) {
		synctest.Test(t, func(t *testing.T) {
			within(t, newTMP102(), answers(map[byte][]byte{0: temp, 1: config}), limits{-55, 125})
		})
	})
}
