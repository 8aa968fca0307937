package drivers

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	periph "periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
)

// wired is hardware with one bus.
func wired(bus periph.Bus) *Hardware {
	closer, ok := bus.(periph.BusCloser)
	if !ok || strings.HasPrefix(bus.String(), "playback") { // its Close checks that all was consumed
		closer = i2cfake.NoClose{Bus: bus}
	}
	return &Hardware{Host: host.Host{Dev: "/dev"}, I2C: i2c.Buses{
		OpenBus: func(string) (periph.BusCloser, error) { return closer, nil },
	}}
}

// once opens a sensor, measures once and closes.
func once(t testing.TB, o Options, bus periph.Bus) ([]sensors.Sample, error) {
	t.Helper()
	s, err := o.Open(t.Context(), wired(bus))
	if err != nil {
		return nil, err
	}
	samples, err := s.Next(t.Context())
	if closing := s.Close(); closing != nil {
		t.Error(closing)
	}
	return samples, err
}

// values are samples by quantity, in order.
func values(samples []sensors.Sample) (names string, all []float64) {
	for _, s := range samples {
		names += s.Quantity + " "
		all = append(all, s.Value)
	}
	return strings.TrimSpace(names), all
}

// These hold for every part of the files beside this one.

// measures claims what a part makes of bytes, all of which it has to ask for.
func measures(t *testing.T, o Options, ops []i2ctest.IO, names string, want ...float64) {
	t.Helper()
	if p := o.Check(); p != nil {
		t.Error(p)
	}
	synctest.Test(t, func(t *testing.T) {
		bus := &i2ctest.Playback{Ops: ops, DontPanic: true}
		samples, err := once(t, o, bus)
		if got, v := values(samples); err != nil || got != names || !slices.Equal(v, want) {
			t.Errorf("%s %v, %v; want %s %v", got, v, err, names, want)
		}
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
}

// refuses claims that bytes are an error, which begins so.
func refuses(t *testing.T, o Options, ops []i2ctest.IO, want string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		samples, err := once(t, o, &i2ctest.Playback{Ops: ops, DontPanic: true})
		if err == nil || !strings.HasPrefix(err.Error(), want) || samples != nil {
			t.Errorf("%v, %v; want %s", samples, err, want)
		}
	})
}

// failsAnywhere checks that a missing acknowledge is reported at any transfer
// it happens, and ends the measurement; but where the part may refuse.
func failsAnywhere(t *testing.T, o Options, ops []i2ctest.IO, where string, spare ...int) {
	t.Helper()
	for n := range ops {
		if slices.Contains(spare, n) {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			bus := i2cfake.FailAt(&i2ctest.Playback{Ops: ops, DontPanic: true}, n, syscall.EREMOTEIO)
			_, err := once(t, o, bus)
			if !errors.Is(err, syscall.EREMOTEIO) || err.Error() != where+": no acknowledge" {
				t.Errorf("transfer %d: %v", n, err)
			}
			if bus.Count != n+1 || bus.Closed != 1 {
				t.Errorf("transfer %d: %d transfers, closed %d times", n, bus.Count, bus.Closed)
			}
		})
	}
}

// survivesDeadBus claims that a bus on which every byte reads the same is an
// error in bounded time: from the start, and from each transfer on.
func survivesDeadBus(t *testing.T, o Options, ops []i2ctest.IO, within time.Duration) {
	t.Helper()
	for b := range 256 {
		for alive := range len(ops) {
			if alive > 0 && b != 0 && b != 0xff {
				continue
			}
			deadAfter(t, o, ops, alive, byte(b), within)
		}
	}
}

// deadAfter claims the same of a bus that lives for some transfers.
func deadAfter(t *testing.T, o Options, ops []i2ctest.IO, alive int, b byte, within time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opening, dead := &i2ctest.Playback{Ops: ops, DontPanic: true}, i2cfake.Reading(b)
		bus := &i2cfake.Bus{Answer: func(n int, addr uint16, w, r []byte) error {
			if n < alive {
				return opening.Tx(addr, w, r)
			}
			return dead.Tx(addr, w, r)
		}}
		start := time.Now()
		samples, err := once(t, o, bus)
		if err == nil {
			t.Errorf("0x%02x after %d transfers: took %v for a measurement", b, alive, samples)
		}
		if took := time.Since(start); took > within || bus.Count > len(ops)+i2c.MaxTransfers {
			t.Errorf("0x%02x after %d transfers: took %v and %d transfers", b, alive, took, bus.Count)
		}
	})
}

// answers is a bus with registers.
func answers(registers map[byte][]byte) *i2cfake.Bus {
	return &i2cfake.Bus{Answer: func(_ int, _ uint16, w, r []byte) error {
		if len(w) > 0 {
			copy(r, registers[w[0]])
		}
		return nil
	}}
}

// within claims that a measurement is an error, or within the limits.
func within(t *testing.T, o Options, bus *i2cfake.Bus, all ...limits) {
	t.Helper()
	samples, err := once(t, o, bus)
	if err != nil {
		return
	}
	_, got := values(samples)
	for i, l := range all {
		if !(got[i] >= l.min && got[i] <= l.max) {
			t.Errorf("%v", got)
		}
	}
}
