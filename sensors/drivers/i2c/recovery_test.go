package i2c

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
	"periph.io/x/conn/v3/i2c"
)

// idOptions are the options of a part with one register, which holds 0x18.
type idOptions struct {
	bus  Bus
	addr uint16
}

type idSensor struct{ *Part }

func (s idSensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	var id [1]byte
	err := s.Measure(ctx, func() error {
		if err := s.ReadRegister(0, id[:]); err != nil {
			return err
		}
		if id[0] != 0x18 {
			return fmt.Errorf("is no such part: 0x%02x", id[0])
		}
		return nil
	})
	return []sensors.Sample{{Quantity: "id", Value: float64(id[0])}}, err
}

// rack is hardware with sensors on it, and what happened.
type rack struct {
	*busRig
	mu    sync.Mutex
	begin time.Time
	lines []string
}

func (r *rack) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := time.Since(r.begin).Truncate(time.Millisecond)
	r.lines = append(r.lines, fmt.Sprintf("%v ", at)+fmt.Sprintf(format, args...))
}

// run runs parts, by name "bus/address", inside a bubble.
func (r *rack) run(ctx context.Context, parts ...string) {
	r.begin = time.Now()
	var specs []sensors.Spec
	for _, name := range parts {
		var o idOptions
		if n, _ := fmt.Sscanf(name, "%d/0x%x", &o.bus, &o.addr); n != 2 {
			panic(name)
		}
		specs = append(specs, sensors.Spec{Name: name, Every: time.Second, Options: o,
			Streams: []sensors.Stream{{Name: name, Every: time.Second, Quantity: sensors.Quantity{Name: "id"}}}})
	}
	last := map[string]string{}
	sensors.Run(ctx, specs, sensors.Wiring{
		Open: func(_ context.Context, spec sensors.Spec) (sensors.Sensor, error) {
			o := spec.Options.(idOptions)
			p, err := r.part(o.bus, o.addr)
			return idSensor{p}, err
		},
		Record: func(s sensors.Reading) {
			what := fmt.Sprint(s.Value)
			if s.Err != "" {
				what = s.Err
			}
			r.mu.Lock()
			news := last[s.Stream] != what
			last[s.Stream] = what
			r.mu.Unlock()
			if news {
				r.say("%s: %s", s.Stream, what)
			}
		},
		Report: func(e sensors.Event) { r.say("%s %s", e.Name, e.Details) },
		Clock:  clock.NewTimekeeper(clock.TrustAlways), Log: slog.New(slog.DiscardHandler),
	})
}

func (r *rack) want(t *testing.T, want ...string) {
	t.Helper()
	if g, w := strings.Join(r.lines, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("\ngot\n%s\nwant\n%s", g, w)
	}
}

// answer fills a read with the part's byte.
func answer(r []byte, b byte) error {
	for i := range r {
		r[i] = b
	}
	return nil
}

// TestHungPartBlocksItsOwnBusOnly has a transfer that the kernel does not
// give back for a minute.
func TestHungPartBlocksItsOwnBusOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rack
		hung := false
		bus1 := &i2cfake.Bus{Answer: func(_ int, addr uint16, _, b []byte) error {
			if addr == 0x38 && !hung {
				hung = true
				time.Sleep(time.Minute)
				return syscall.ETIMEDOUT
			}
			return answer(b, 0x18)
		}}
		bus2 := i2cfake.Reading(0x18)
		r.busRig = openedBy(func(path string) (i2c.BusCloser, error) {
			return map[string]i2c.BusCloser{"/dev/i2c-1": bus1, "/dev/i2c-2": bus2}[path], nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 70*time.Second-1) // before the next tick
		defer cancel()
		r.run(ctx, "1/0x38", "1/0x76", "2/0x38")
		got := strings.Join(r.lines, "\n")
		for _, want := range []string{
			"0s 2/0x38: 24", // and never again anything else
			"11s 1/0x38: hangs: no answer for 10s",
			"i2c-1 is busy: 0x38 has not returned for 1", // 10 or 11 s, by who was first
			"1m0s 1/0x38: 24", "1/0x76: 24",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		if strings.Count(got, "2/0x38") != 1 || bus2.Count != 70 {
			t.Errorf("the other bus was disturbed, %d transfers:\n%s", bus2.Count, got)
		}
		if bus2.Closed != 1 || bus1.Closed < 1 {
			t.Error("left open", bus1.Closed, bus2.Closed)
		}
	})
}

func TestBusIsClosedAfterItsHungTransferReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		bus := &i2cfake.Bus{Answer: func(int, uint16, []byte, []byte) error { <-release; return nil }}
		h := withBus(bus)
		p, err := h.part(1, 0x38)
		if err != nil {
			t.Fatal(err)
		}
		go p.Measure(t.Context(), func() error { return p.Receive(make([]byte, 1)) })
		synctest.Wait()
		if err := p.Close(); err != nil || bus.Closed != 0 {
			t.Error("closed under a transfer", err, bus.Closed)
		}
		other, err := h.part(1, 0x39) // neither does that wait
		if err != nil {
			t.Fatal(err)
		}
		close(release)
		synctest.Wait()
		if bus.Closed != 1 {
			t.Errorf("closed %d times", bus.Closed)
		}
		other.Close()
		if bus.Closed != 2 {
			t.Errorf("closed %d times", bus.Closed)
		}
	})
}

// pi is a fake sysfs with the adapter of i2c-1.
func pi(t *testing.T, driver string) (sys string) {
	t.Helper()
	sys = t.TempDir()
	device := filepath.Join(sys, "devices", "platform", "soc", "fe804000.i2c")
	folder := filepath.Join(sys, "bus", "platform", "drivers", driver)
	for _, dir := range []string{filepath.Join(device, "i2c-1"), filepath.Join(device, "of_node"), folder,
		filepath.Join(sys, "bus", "i2c", "devices")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link(t, filepath.Join(device, "i2c-1"), filepath.Join(sys, "bus", "i2c", "devices", "i2c-1"))
	link(t, folder, filepath.Join(device, "driver"))
	return sys
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// attr is a fake file of a driver.
type attr struct{ write func(text string) error }

func (a attr) Write(p []byte) (int, error) { return len(p), a.write(string(p)) }
func (a attr) Close() error                { return nil }

// TestStuckBusIsReopenedThenItsAdapterIsRebound is a bus of the SoC that
// times out until its driver is bound again.
func TestStuckBusIsReopenedThenItsAdapterIsRebound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wedged := true
		bus := &i2cfake.Bus{}
		bus.Answer = func(_ int, _ uint16, _, b []byte) error {
			if wedged && bus.Count > 2 {
				return syscall.ETIMEDOUT
			}
			return answer(b, 0x18)
		}
		opened := 0
		r := rack{busRig: openedBy(func(string) (i2c.BusCloser, error) { opened++; return bus, nil })}
		r.Sys = pi(t, "i2c-bcm2835")
		r.openAttr = func(path string) (io.WriteCloser, error) {
			return attr{func(text string) error {
				r.say("%s > %s, %d open", text, strings.TrimPrefix(path, r.Sys), opened-bus.Closed)
				wedged = wedged && filepath.Base(path) == "unbind"
				return nil
			}}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		r.run(ctx, "1/0x38")
		const timedOut = `"error":"3 transfers in a row: connection timed out (is a part holding the bus low?)"`
		r.want(t,
			"0s 1/0x38: 24",
			"2s 1/0x38: i2c-1 0x38: timed out (is a part holding the bus low?)",
			`5s fault {"bus":"i2c-1",`+timedOut+`,"tried":"opened again"}`,
			`5s fault {"error":"i2c-1 0x38: timed out (is a part holding the bus low?)",`+
				`"failures":3,"sensor":"1/0x38"}`,
			"32s fe804000.i2c > /bus/platform/drivers/i2c-bcm2835/unbind, 0 open",
			"32s fe804000.i2c > /bus/platform/drivers/i2c-bcm2835/bind, 0 open",
			`32s fault {"bus":"i2c-1",`+timedOut+`,"tried":"i2c-bcm2835 unbound and bound"}`,
			`47s recovered {"after_s":45,"bus":"i2c-1","tried":"i2c-bcm2835 unbound and bound"}`,
			"47s 1/0x38: 24",
			`47s recovered {"after_s":45,"sensor":"1/0x38"}`)
		if opened != bus.Closed {
			t.Errorf("opened %d times and closed %d times", opened, bus.Closed)
		}
	})
}

// TestForbiddenRebindIsReportedOnce: without bind, nobody
// unbinds.
func TestForbiddenRebindIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &i2cfake.Bus{Answer: func(int, uint16, []byte, []byte) error { return syscall.ETIMEDOUT }}
		r := rack{busRig: openedBy(func(string) (i2c.BusCloser, error) { return bus, nil })}
		r.Sys = pi(t, "i2c-bcm2835")
		r.openAttr = func(path string) (io.WriteCloser, error) {
			if filepath.Base(path) == "bind" {
				return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
			}
			return attr{func(text string) error { t.Errorf("wrote to %s", path); return nil }}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Hour) // the pauses reach an hour after two
		defer cancel()
		r.run(ctx, "1/0x38")
		got := strings.Join(r.lines, "\n")
		if n := strings.Count(got, "permission denied"); n != 1 || !strings.Contains(got, "sudo chgrp i2c ") {
			t.Errorf("said %d times:\n%s", n, got)
		}
	})
}

// stuckPart holds SDA low until it has seen some clocks, or for ever.
type stuckPart struct {
	scl, sda bool // as we drive them
	clocks   int  // until it lets go; -1: never
	shorted  bool // SCL too
	stops    int
}

type stuckWire struct {
	part *stuckPart
	scl  bool
}

func (w stuckWire) Set(high bool) error {
	p := w.part
	switch {
	case w.scl && high && !p.scl && p.clocks > 0:
		p.clocks--
	case !w.scl && high && !p.sda && p.scl && p.clocks == 0:
		p.stops++
	}
	if w.scl {
		p.scl = high
	} else {
		p.sda = high
	}
	return nil
}

func (w stuckWire) Level() (bool, error) {
	if w.scl {
		return w.part.scl && !w.part.shorted, nil
	}
	return w.part.sda && w.part.clocks == 0, nil
}

func (w stuckWire) Close() error { return nil }

func TestNineClocksEndWithAStopOrSayWhatIsWrong(t *testing.T) {
	for hold := range 12 {
		p := &stuckPart{scl: true, sda: true, clocks: hold}
		n, err := clearBus(stuckWire{p, false}, stuckWire{p, true})
		switch {
		case hold <= 9 && (err != nil || n != hold || p.stops != 1 || !p.scl || !p.sda):
			t.Errorf("held for %d: %d clocks, %d stops, %v", hold, n, p.stops, err)
		case hold > 9 && (n != 9 || err == nil || !strings.Contains(err.Error(), "cut the power")):
			t.Errorf("held for %d: %d clocks, %v", hold, n, err)
		}
	}
	p := &stuckPart{scl: true, sda: true, clocks: -1, shorted: true}
	if n, err := clearBus(stuckWire{p, false}, stuckWire{p, true}); n != 0 ||
		!strings.Contains(fmt.Sprint(err), "SCL is held low") {
		t.Error(n, err)
	}
}

// TestClocksFreeAHeldSDAOfAGPIOBus: such a bus reports no error, and reads
// zeros.
func TestClocksFreeAHeldSDAOfAGPIOBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := &stuckPart{scl: true, sda: true, clocks: 4}
		bus := &i2cfake.Bus{Answer: func(_ int, _ uint16, _, b []byte) error {
			if held.clocks > 0 {
				return answer(b, 0)
			}
			return answer(b, 0x18)
		}}
		sys := pi(t, "i2c-gpio")
		tree(t, sys, map[string]string{
			"devices/platform/soc/fe804000.i2c/of_node/gpios": "\x00\x00\x00\x07\x00\x00\x00\x17\x00\x00\x00\x06" +
				"\x00\x00\x00\x07\x00\x00\x00\x18\x00\x00\x00\x06",
			"bus/gpio/devices/gpiochip0/of_node/phandle":     "\x00\x00\x00\x07",
			"bus/gpio/devices/gpiochip0/of_node/#gpio-cells": "\x00\x00\x00\x02",
		})
		r := rack{busRig: openedBy(func(string) (i2c.BusCloser, error) { return bus, nil })}
		r.Sys = sys
		bound := true
		r.openAttr = func(path string) (io.WriteCloser, error) {
			return attr{func(string) error { bound = filepath.Base(path) == "bind"; return nil }}, nil
		}
		r.openWire = func(at gpio.Place) (busWire, error) {
			if bound {
				return nil, syscall.EBUSY
			}
			if at.Path != "/dev/gpiochip0" {
				t.Error(at.Path)
			}
			return stuckWire{held, at.Offset == 24}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r.run(ctx, "1/0x38")
		got := strings.Join(r.lines, "\n")
		for _, want := range []string{
			`"error":"3 transfers in a row: reads nothing but zeros (is a part holding the bus low?)"`,
			`"tried":"4 clocks on gpiochip0/24: SDA is high, i2c-gpio unbound and bound"}`,
			`recovered {"after_s":45,"bus":"i2c-1","tried":"4 clocks on`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in\n%s", want, got)
			}
		}
		if held.stops != 1 || !bound {
			t.Error(held, bound)
		}
	})
}

func tree(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755),
			os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLinesOfABusAreFoundInTheDeviceTree(t *testing.T) {
	sys := t.TempDir()
	tree(t, sys, map[string]string{
		"dev/of_node/sda-gpios":                          "\x00\x00\x00\x07\x00\x00\x00\x02\x00\x00\x00\x06",
		"dev/of_node/scl-gpios":                          "\x00\x00\x00\x09\x00\x00\x00\x03\x00\x00\x00\x06",
		"bus/gpio/devices/gpiochip0/of_node/phandle":     "\x00\x00\x00\x07",
		"bus/gpio/devices/gpiochip0/of_node/#gpio-cells": "\x00\x00\x00\x02",
		"bus/gpio/devices/gpiochip1/of_node/phandle":     "\x00\x00\x00\x09",
		"bus/gpio/devices/gpiochip1/of_node/#gpio-cells": "\x00\x00\x00\x02",
	})
	h := &busRig{Host: host.Host{Dev: "/dev", Sys: sys}}
	sda, scl, err := busLines(&h.Host, filepath.Join(sys, "dev"))
	if err != nil || sda.Path != "/dev/gpiochip0" || sda.Offset != 2 || scl.Path != "/dev/gpiochip1" ||
		scl.Offset != 3 {
		t.Errorf("%v/%d %v/%d %v", sda.Path, sda.Offset, scl.Path, scl.Offset, err)
	}
}

func TestLinesOfABusAreFoundByTheirHolder(t *testing.T) {
	chips := []gpio.Chip{{Name: "gpiochip0", Lines: []gpio.LineInfo{{Name: "A", Consumer: "sda"}, {Name: "B"},
		{Name: "C", Consumer: "scl"}}}, {Name: "gpiochip1", Lines: []gpio.LineInfo{{Consumer: "led"}}}}
	sda, scl, err := linesHeldAs(chips, "sda", "scl")
	if err != nil || sda.String() != "gpiochip0/0" || scl.String() != "gpiochip0/2" {
		t.Error(sda, scl, err)
	}
	chips[1].Lines = append(chips[1].Lines, gpio.LineInfo{Consumer: "sda"}) // of a second such bus
	if _, _, err := linesHeldAs(chips, "sda", "scl"); err == nil ||
		!strings.Contains(err.Error(), `2 lines are held as "sda"`) {
		t.Error(err)
	}
}

func TestOneBusyPartIsNotAStuckBus(t *testing.T) {
	b := &sharedBus{path: "/dev/i2c-1", health: &busHealth{}}
	for i := range 20 {
		errs := []error{syscall.ETIMEDOUT, syscall.EAGAIN, syscall.EREMOTEIO}
		b.observe(t.Context(), errs[i%3], nil) // it would open the bus again, but has no hardware
	}
	if b.health.rounds != 0 || b.health.failures > 2 {
		t.Errorf("%+v", b.health)
	}
	for range 4 { // an acknowledge proves nothing: a held SDA is one
		b.observe(t.Context(), nil, nil)
		b.observe(t.Context(), nil, make([]byte, 6))
	}
	if round := b.health.failure(time.Now()); round != 1 {
		t.Errorf("round %d: %+v", round, b.health)
	}
}

func TestRepairsBackOff(t *testing.T) {
	h, begin := &busHealth{}, time.Now()
	var at []time.Duration
	for s := time.Duration(0); s < 6*time.Hour; s += 5 * time.Second {
		if h.failure(begin.Add(s)) > 0 {
			at = append(at, s)
		}
	}
	var gaps []time.Duration
	for i := range at[1:] {
		gaps = append(gaps, (at[i+1] - at[i]).Truncate(time.Minute))
	}
	if got := fmt.Sprint(gaps); got != "[0s 1m0s 2m0s 4m0s 8m0s 16m0s 32m0s 1h0m0s 1h0m0s 1h0m0s 1h0m0s]" {
		t.Error(got)
	}
	if _, _, wedged := h.success(begin); !wedged {
		t.Error("forgot that it was wedged")
	}
	if _, _, wedged := h.success(begin); wedged {
		t.Error("recovered twice")
	}
}

func TestBusWithoutAnAdapterIsReported(t *testing.T) {
	sys := t.TempDir() // as behind a multiplexer, whose parent is another bus
	tree(t, sys, map[string]string{"devices/i2c-0/i2c-10/name": "mux"})
	if err := os.MkdirAll(filepath.Join(sys, "bus", "i2c", "devices"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, filepath.Join(sys, "devices", "i2c-0", "i2c-10"), filepath.Join(sys, "bus", "i2c", "devices", "i2c-10"))
	h := &busRig{Host: host.Host{Dev: "/dev", Sys: sys}}
	if _, err := h.Buses.rebind(&h.Host, "i2c-10"); err == nil || !strings.Contains(err.Error(), "has no driver") {
		t.Error(err)
	}
	if _, err := h.Buses.rebind(&h.Host, "i2c-11"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// The kernel's files are written and never made.
func TestOptionalFilesOfADriver(t *testing.T) {
	h := &busRig{Host: host.Host{Sys: pi(t, "i2c-bcm2835")}}
	if _, err := h.Buses.rebind(&h.Host, "i2c-1"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	folder := filepath.Join(h.Sys, "bus", "platform", "drivers", "i2c-bcm2835")
	tree(t, folder, map[string]string{"bind": "", "unbind": ""})
	if did, err := h.Buses.rebind(&h.Host, "i2c-1"); err != nil || did != "i2c-bcm2835 unbound and bound" {
		t.Error(did, err)
	}
	for _, name := range []string{"bind", "unbind"} {
		if text, _ := os.ReadFile(filepath.Join(folder, name)); string(text) != "fe804000.i2c" {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestRebindErrorSaysHowToBindTheBus(t *testing.T) {
	h := &busRig{Host: host.Host{Dev: "/dev", Sys: pi(t, "i2c-bcm2835")}}
	h.openAttr = func(path string) (io.WriteCloser, error) {
		return attr{func(string) error {
			if filepath.Base(path) == "bind" {
				return syscall.ENODEV
			}
			return nil
		}}, nil
	}
	_, err := h.Buses.rebind(&h.Host, "i2c-1")
	if err == nil || !strings.Contains(err.Error(), "i2c-1 is gone") ||
		!strings.Contains(err.Error(), "echo fe804000.i2c | sudo tee ") {
		t.Error(err)
	}
}

// FuzzGPIOSpecs holds that a property of any bytes ends in lines of known chips
// or an error.
func FuzzGPIOSpecs(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x07\x00\x00\x00\x17\x00\x00\x00\x06"))
	f.Add([]byte("\x00\x00\x00\x07\x00\x00\x00\x17"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		specs, err := gpioSpecs(data, func(phandle uint32) int { return int(phandle % 4) })
		if err == nil && len(specs)*12 != len(data) {
			t.Errorf("%d lines of %d bytes", len(specs), len(data))
		}
		for _, s := range specs {
			if s.phandle%4 != 2 {
				t.Errorf("a line of a chip that has not two cells: %+v", s)
			}
		}
	})
}

// Writes alone show nothing about the bus.
func TestOnlyZeroReadsCountAsSilence(t *testing.T) {
	var z zeros
	if z.add(nil, nil); z.all() {
		t.Error("a write is silence")
	}
	if z.add(nil, []byte{0, 0}); !z.all() {
		t.Error("zeros are none")
	}
	if z.add(nil, []byte{0, 1}); z.all() {
		t.Error("a one is silence")
	}
}
