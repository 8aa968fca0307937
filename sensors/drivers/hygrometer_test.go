package drivers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// hygrometers are the kinds, each with opening and one measurement that is
// answered well. What holds of all of them is claimed here, their numbers in a
// file for each.
var hygrometers = map[string]struct {
	new   func() Options
	ops   []i2ctest.IO
	crc   bool // it sends checksums
	start byte // which start from this
	spare int  // a transfer that may fail, or -1
}{
	"aht10":   {newAHT10, aht10Ops(aht10Reply(0x80000, 0x60000)), false, 0x00, -1},
	"aht20":   {newAHT20, aht20Ops(aht20Reply(0x80000, 0x60000)), false, 0xff, -1}, // of seven bytes: see its own test
	"hdc302x": {newHDC302x, hdc302xOps(0x6666, 0x8000), true, 0xff, 0},
	"htu21d":  {newHTU21D, htuOps(0x40, 0x02, 0x683a, 0x4e85), true, 0x00, -1},
	"sht3x":   {newSHT3x, sht3xOps(0x6666, 0x8000), true, 0xff, 0},
	"sht4x":   {newSHT4x, sht4xOps(0x6666, 0x8000), true, 0xff, -1},
	"si7021":  {newSi7021, htuOps(0x40, 0x3a, 0x683a, 0x4e85), true, 0x00, -1},
}

// eachHygrometer runs a test for each, in time of its own.
func eachHygrometer(t *testing.T, do func(t *testing.T, kind string, ops []i2ctest.IO)) {
	for kind, h := range hygrometers {
		t.Run(kind, func(t *testing.T) { do(t, kind, h.ops) })
	}
}

func playback(ops []i2ctest.IO) *i2ctest.Playback {
	return &i2ctest.Playback{Ops: ops, DontPanic: true}
}

// readsClimate checks the measurement of a part that plays this back.
func readsClimate(t *testing.T, o Options, ops []i2ctest.IO, want ...float64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bus := playback(ops)
		samples, err := once(t, o, bus)
		names, got := values(samples)
		if err != nil || names != "humidity temperature" || !slices.Equal(got, want) {
			t.Errorf("%s %v, %v; want %v", names, got, err, want)
		}
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

// failsWith checks the error of a part that plays this back.
func failsWith(t *testing.T, o Options, ops []i2ctest.IO, want string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		samples, err := once(t, o, playback(ops))
		if err == nil || !strings.HasPrefix(err.Error(), want) || samples != nil {
			t.Errorf("%v, %v; want %s", samples, err, want)
		}
	})
}

func TestHygrometersFailAtEachTransfer(t *testing.T) {
	eachHygrometer(t, func(t *testing.T, kind string, ops []i2ctest.IO) {
		want := fmt.Sprintf("i2c-1 0x%02x: no acknowledge", ops[0].Addr)
		for n := range ops {
			if n == hygrometers[kind].spare {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				bus := i2cfake.FailAt(playback(ops), n, syscall.EREMOTEIO)
				samples, err := once(t, hygrometers[kind].new(), bus)
				if !errors.Is(err, syscall.EREMOTEIO) || err.Error() != want || samples != nil {
					t.Errorf("transfer %d: %v", n, err)
				}
				if bus.Count != n+1 || bus.Closed != 1 {
					t.Errorf("transfer %d: %d transfers, closed %d times", n, bus.Count, bus.Closed)
				}
			})
		}
	})
}

func TestHygrometersTimeOutOnASilentBus(t *testing.T) {
	eachHygrometer(t, func(t *testing.T, kind string, ops []i2ctest.IO) {
		for n := range ops {
			for _, dead := range []byte{0x00, 0xff} {
				synctest.Test(t, func(t *testing.T) {
					alive, stuck := playback(ops), i2cfake.Reading(dead)
					bus := &i2cfake.Bus{Answer: func(i int, addr uint16, w, r []byte) error {
						if i < n {
							return alive.Tx(addr, w, r)
						}
						return stuck.Tx(addr, w, r)
					}}
					start := time.Now()
					samples, err := once(t, hygrometers[kind].new(), bus)
					if err == nil || !strings.Contains(err.Error(), "is it still wired?") {
						t.Errorf("0x%02x after %d transfers: %v, %v", dead, n, samples, err)
					}
					if took := time.Since(start); took > time.Second || bus.Count > i2c.MaxTransfers {
						t.Errorf("0x%02x after %d transfers: took %v and %d transfers", dead, n, took, bus.Count)
					}
				})
			}
		}
	})
}

func TestHygrometersRejectEveryBitError(t *testing.T) {
	eachHygrometer(t, func(t *testing.T, kind string, ops []i2ctest.IO) {
		for n, op := range ops {
			if !hygrometers[kind].crc || len(op.R) < 3 {
				continue
			}
			for bit := range 8 * len(op.R) {
				wrong := slices.Clone(ops)
				wrong[n].R = slices.Clone(op.R)
				wrong[n].R[bit/8] ^= 1 << (bit % 8)
				failsWith(t, hygrometers[kind].new(), wrong, fmt.Sprintf("i2c-1 0x%02x: wrong checksum 0x", op.Addr))
			}
		}
	})
}

func TestHygrometersStopWithTheContext(t *testing.T) {
	eachHygrometer(t, func(t *testing.T, kind string, ops []i2ctest.IO) {
		synctest.Test(t, func(t *testing.T) {
			bus := i2cfake.Reading(0xff)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := hygrometers[kind].new().Open(ctx, wired(bus))
			if !errors.Is(err, context.Canceled) || bus.Count != 0 || bus.Closed != 1 {
				t.Errorf("%v, %d transfers, closed %d times", err, bus.Count, bus.Closed)
			}
		})
	})
}

// For any data of a part, with right or wrong checksums, a measurement ends with an error or a value
// within the limits.
func FuzzHygrometers(f *testing.F) {
	kinds := slices.Sorted(maps.Keys(hygrometers))
	for i, kind := range kinds {
		var replies []byte
		for _, op := range hygrometers[kind].ops {
			replies = append(replies, op.R...)
		}
		f.Add(byte(i), true, replies)
		f.Add(byte(i), false, replies)
	}
	f.Fuzz(func(t *testing.T, which byte, right bool, replies []byte) {
		kind := kinds[int(which)%len(kinds)]
		start := hygrometers[kind].start
		synctest.Test(t, func(t *testing.T) {
			bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, _, r []byte) error {
				replies = replies[copy(r, replies):]
				for at := 0; right && at+3 <= len(r); at += 3 {
					r[at+2] = i2c.CRC8(start, r[at:at+2])
				}
				return nil
			}}
			began := time.Now()
			samples, err := once(t, hygrometers[kind].new(), bus)
			if took := time.Since(began); took > 2*time.Second {
				t.Error(kind, "took", took)
			}
			if err != nil {
				return
			}
			_, got := values(samples)
			if !(got[0] >= 0 && got[0] <= 100) || !(got[1] >= -40 && got[1] <= 125) {
				t.Errorf("%s: %v", kind, got)
			}
		})
	})
}
