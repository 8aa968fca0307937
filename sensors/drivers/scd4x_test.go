package drivers

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// The checksums here are the datasheet's own, where it has an example.
var (
	scd4xSerialReply = []byte{0xf8, 0x96, 0x31, 0x9f, 0x07, 0xc2, 0x3b, 0xbe, 0x89} // get_serial_number
	// 0x8006: six of the lower 11 bits count
	scd4xIsReady  = []byte{0x80, 0x06, 0x04}
	scd4xNotReady = []byte{0x80, 0x00, 0xa2} // get_data_ready_status
	// read_measurement: 500 ppm, 25 °C, 37 %
	scd4xReply = []byte{0x01, 0xf4, 0x33, 0x66, 0x67, 0xa2, 0x5e, 0xb9, 0x3c}
)

func scd4xOpening(settings ...i2ctest.IO) []i2ctest.IO {
	ops := []i2ctest.IO{
		{Addr: 0x62, W: []byte{0x36, 0xf6}}, // wake
		{Addr: 0x62, W: []byte{0x3f, 0x86}}, {Addr: 0x62, W: []byte{0x36, 0x46}},
		{Addr: 0x62, W: []byte{0x36, 0x82}}, {Addr: 0x62, R: scd4xSerialReply},
	}
	return append(append(ops, settings...), i2ctest.IO{Addr: 0x62, W: []byte{0x21, 0xb1}})
}

func scd4xPoll(status []byte) []i2ctest.IO {
	return []i2ctest.IO{{Addr: 0x62, W: []byte{0xe4, 0xb8}}, {Addr: 0x62, R: status}}
}

// scd4xOps are opening and one measurement, there at the second asking.
func scd4xOps(reply []byte) []i2ctest.IO {
	return slices.Concat(scd4xOpening(), scd4xPoll(scd4xNotReady), scd4xPoll(scd4xIsReady),
		[]i2ctest.IO{{Addr: 0x62, W: []byte{0xec, 0x05}}, {Addr: 0x62, R: reply}})
}

func scd4xMeasured(co2, t, rh uint16) (r []byte) {
	for _, w := range []uint16{co2, t, rh} {
		b := []byte{byte(w >> 8), byte(w)}
		r = append(r, b[0], b[1], i2c.CRC8(0xff, b))
	}
	return r
}

func TestSCD4xChecksumIsTheDatasheets(t *testing.T) {
	if got := i2c.CRC8(0xff, []byte{0xbe, 0xef}); got != 0x92 { // the example of the datasheet
		t.Errorf("0x%02x, want 0x92", got)
	}
}

// 0x6667 is 26215: -45 + 175*26215/65535 = 25.00 °C; 0x5eb9 is 24249: 37.00 %.
// 0x3333 is 13107, a fifth: -10 °C.
func TestSCD4xMeasuresAsItsDatasheetSays(t *testing.T) {
	const names = "carbon_dioxide humidity temperature"
	measures(t, newSCD4x(), scd4xOps(scd4xReply), names, 500, 37, 25)
	measures(t, newSCD4x(), scd4xOps(scd4xMeasured(40000, 0x3333, 0xffff)), names, 40000, 100, -10)
	measures(t, newSCD4x(), scd4xOps(scd4xMeasured(1, 39321, 0)), names, 1, 0, 60)
}

// The examples of set_sensor_altitude, 1950 m as 0x079e, and of
// set_ambient_pressure, 98700 Pa as 0x03db.
func TestSCD4xCompensatesForPressure(t *testing.T) {
	altitude, pressure := 1950, 987
	for _, c := range []struct {
		o *scd4xOptions
		w []byte
	}{
		{&scd4xOptions{Altitude: &altitude}, []byte{0x24, 0x27, 0x07, 0x9e, 0x09}},
		{&scd4xOptions{Pressure: &pressure}, []byte{0xe0, 0x00, 0x03, 0xdb, 0x42}},
	} {
		c.o.onI2C = newSCD4x().(*scd4xOptions).onI2C
		ops := append(scd4xOpening(i2ctest.IO{Addr: 0x62, W: c.w}), scd4xOps(scd4xReply)[6:]...)
		measures(t, c.o, ops, "carbon_dioxide humidity temperature", 500, 37, 25)
	}
}

// An SCD41 that somebody has powered down answers to nothing but the waking,
// which it does not acknowledge.
func TestSCD4xThatSleepsIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		awake, play := false, playback(scd4xOps(scd4xReply)[1:])
		bus := &i2cfake.Bus{Answer: func(_ int, addr uint16, w, r []byte) error {
			if slices.Equal(w, []byte{0x36, 0xf6}) {
				awake = true
				return syscall.EREMOTEIO
			}
			if !awake {
				return syscall.EREMOTEIO
			}
			return play.Tx(addr, w, r)
		}}
		if _, err := once(t, newSCD4x(), bus); err != nil {
			t.Error(err)
		}
	})
}

func TestSCD4xOptionsSayWhatIsWrong(t *testing.T) {
	n := func(i int) *int { return &i }
	for want, o := range map[string]*scd4xOptions{
		"altitude": {Altitude: n(3001)}, "pressure": {Pressure: n(699)}, "": {Altitude: n(0), Pressure: n(1013)},
	} {
		o.onI2C = newSCD4x().(*scd4xOptions).onI2C
		if p := o.Check(); len(p) != 1 || p[0].Key != want {
			t.Errorf("%q: %v", want, p)
		}
	}
}

func TestSCD4xImpossibleReplyIsRejected(t *testing.T) {
	corrupt := slices.Clone(scd4xReply)
	corrupt[4] ^= 1
	for want, reply := range map[string][]byte{
		"wrong checksum 0xa2, want 0x": corrupt,
		"reads only 0x00":              make([]byte, 9),
		"reads only 0xff":              slices.Repeat([]byte{0xff}, 9),
		"carbon_dioxide 0 ppm":         scd4xMeasured(0, 0x6667, 0x5eb9),
		"carbon_dioxide 40001 ppm":     scd4xMeasured(40001, 0x6667, 0x5eb9),
		"temperature -45 °C":           scd4xMeasured(500, 0, 0x5eb9),
		"temperature 130 °C":           scd4xMeasured(500, 0xffff, 0x5eb9),
	} {
		refuses(t, newSCD4x(), scd4xOps(reply), "i2c-1 0x62: "+want)
	}
}

// silence is an SCD4x that never has a measurement.
func silence() *i2cfake.Bus {
	var asked byte
	return &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
		if len(w) > 1 {
			asked = w[1]
		}
		copy(r, map[byte][]byte{0x82: scd4xSerialReply, 0xb8: scd4xNotReady}[asked])
		return nil
	}}
}

func TestSCD4xIsReadyByElevenBits(t *testing.T) {
	for _, status := range []uint16{0x0800, 0x8000, 0xf800} {
		w := []byte{byte(status >> 8), 0}
		ops := slices.Concat(scd4xOpening(), scd4xPoll(append(w, i2c.CRC8(0xff, w))),
			scd4xOps(scd4xReply)[len(scd4xOpening()):])
		measures(t, newSCD4x(), ops, "carbon_dioxide humidity temperature", 500, 37, 25)
	}
}

func TestSCD4xWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := once(t, newSCD4x(), silence())
		if err == nil || err.Error() != "i2c-1 0x62: no measurement in 6s, and it makes one every 5s (has its power "+
			"dipped?)" {
			t.Error(err)
		}
		if took := time.Since(start); took < 6*time.Second || took > 8*time.Second {
			t.Error(took)
		}
	})
}

// The same measurement twice is one, unless the part offers it for ever.
func TestSCD4xThatRepeatsAnOldMeasurementIsRefused(t *testing.T) {
	for after, good := range map[string]bool{string(scd4xNotReady): true, string(scd4xIsReady): false} {
		synctest.Test(t, func(t *testing.T) {
			read := []i2ctest.IO{{Addr: 0x62, W: []byte{0xec, 0x05}}, {Addr: 0x62, R: scd4xReply}}
			ops := slices.Concat(scd4xOps(scd4xReply), scd4xPoll(scd4xIsReady), read, scd4xPoll([]byte(after)))
			bus := &i2ctest.Playback{Ops: ops, DontPanic: true}
			s, err := newSCD4x().Open(t.Context(), wired(bus))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			samples, err := s.Next(t.Context())
			if (err == nil) != good || err != nil &&
				err.Error() != "i2c-1 0x62: repeats its last measurement and makes no other" {
				t.Errorf("% x: %v, %v", after, samples, err)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSCD4xFailsAtEachTransfer(t *testing.T) {
	failsAnywhere(t, newSCD4x(), scd4xOps(scd4xReply), "i2c-1 0x62", 0)
	survivesDeadBus(t, newSCD4x(), scd4xOps(scd4xReply), 8*time.Second)
}

func FuzzSCD4x(f *testing.F) {
	f.Add(scd4xIsReady, scd4xReply)
	f.Add(scd4xNotReady, scd4xReply)
	f.Add([]byte{0xff, 0xff, 0xac}, make([]byte, 9))
	f.Fuzz(func(t *testing.T, status, reply []byte) {
		synctest.Test(t, func(t *testing.T) {
			var asked byte
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
				if len(w) > 1 {
					asked = w[1]
				}
				copy(r, map[byte][]byte{0x82: scd4xSerialReply, 0xb8: status, 0x05: reply}[asked])
				return nil
			}}
			within(t, newSCD4x(), bus, limits{1, 40000}, limits{0, 100}, limits{-10, 60})
		})
	})
}

// What a checksum holds cannot be guessed by a fuzzer: it gets the words here.
func FuzzSCD4xWords(f *testing.F) {
	f.Add(uint16(500), uint16(0x6667), uint16(0x5eb9))
	for _, temp := range []uint16{13105, 13106, 39322, 39323} { // -10.005, -10.003, 60.003, 60.005 °C
		f.Add(uint16(500), temp, uint16(0))
	}
	f.Fuzz(func(t *testing.T, co2, temp, rh uint16) {
		words, err := i2c.DecodeWords(0xff, scd4xMeasured(co2, temp, rh))
		if err != nil || !slices.Equal(words, []uint16{co2, temp, rh}) {
			t.Fatal(words, err)
		}
		synctest.Test(t, func(t *testing.T) {
			bus := &i2ctest.Playback{Ops: scd4xOps(scd4xMeasured(co2, temp, rh)), DontPanic: true}
			samples, err := once(t, newSCD4x(), bus)
			good := co2 >= 1 && co2 <= 40000 && temp >= 13106 && temp <= 39322 // rounded to 0.01
			if good != (err == nil) {
				t.Errorf("%v, %v", samples, errors.Unwrap(err))
			}
		})
	})
}
