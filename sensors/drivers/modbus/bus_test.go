package modbus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/modbus/modbusfake"
)

// patient is long enough for an answer on any machine, hasty for one that does not come.
const (
	patient = time.Minute
	hasty   = 100 * time.Millisecond
)

// newUnit is unit 7, an energy meter.
func newUnit() *modbusfake.Unit {
	return &modbusfake.Unit{
		ID:      7,
		Holding: map[uint16]uint16{0: 1234, 1: 0xFFFE, 10: 0xFFFF, 11: 0xFFFE, 20: 0x0001, 21: 0x0002, 30: 0x7FC0, 31: 0},
		Input:   map[uint16]uint16{0: 0x4366, 1: 0x3333, 2: 0x3333, 3: 0x4366}, // 230.2, in both orders
		Coils:   map[uint16]bool{3: true, 4: false}, Discrete: map[uint16]bool{3: false, 4: true},
	}
}

// opened is a bus to a unit: by RTU on a pseudo terminal, or by TCP on loopback.
func opened(t testing.TB, u *modbusfake.Unit, transport string, timeout time.Duration) *Bus {
	t.Helper()
	s := Settings{Timeout: timeout}
	if transport == "rtu" {
		s.Device, s.Line = u.Serial(t), Line{Baud: 115200, Parity: 'N', StopBits: 1}
	} else {
		s.Host = u.TCP(t)
	}
	b, err := new(Buses).Acquire(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Release(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestRegisterDecoding(t *testing.T) {
	for _, transport := range []string{"rtu", "tcp"} {
		b := opened(t, newUnit(), transport, patient)
		for r, want := range map[Register]float64{
			{Holding, 0, Uint16, Big}:     1234,
			{Holding, 1, Uint16, Big}:     65534,
			{Holding, 1, Int16, Big}:      -2,
			{Holding, 10, Int32, Big}:     -2,
			{Holding, 10, Uint32, Big}:    4294967294,
			{Holding, 20, Uint32, Big}:    65538,
			{Holding, 20, Uint32, Little}: 131073,
			{Input, 0, Float32, Big}:      230.2,
			{Input, 2, Float32, Little}:   230.2,
			{Coil, 3, "", ""}:             1,
			{Coil, 4, "", ""}:             0,
			{Discrete, 3, "", ""}:         0,
			{Discrete, 4, "", ""}:         1,
		} {
			got, err := b.Read(t.Context(), 7, r)
			if err != nil || got != want {
				t.Errorf("%s: %v %v: %v, %v, want %v", transport, r, r.Type, got, err, want)
			}
		}
	}
}

func TestRegisterFailsSeparately(t *testing.T) {
	u := newUnit()
	u.Discrete = nil
	for _, transport := range []string{"rtu", "tcp"} {
		b := opened(t, u, transport, patient)
		for r, want := range map[Register]string{
			{Holding, 99, Uint16, Big}: "unit 7, holding register 99: the unit has nothing at this address: " +
				"addresses count from 0",
			{Discrete, 1, "", ""}:       "unit 7, discrete input 1: the unit has no such table",
			{Holding, 30, Float32, Big}: "unit 7, holding register 30: the value is not a number",
		} {
			_, err := b.Read(t.Context(), 7, r)
			var alone *RegisterError
			if !errors.As(err, &alone) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v: %v, want %q", transport, r, err, want)
			}
			if b.client == nil {
				t.Errorf("%s: %v: the bus was disconnected", transport, r)
			}
		}
	}
}

// TestModbusErrorsAreExplained, and the bus works again after it.
func TestModbusErrorsAreExplained(t *testing.T) {
	half := func(frame []byte) []byte { return frame[:len(frame)/2] }
	for name, c := range map[string]struct {
		transport string
		mangle    func([]byte) []byte
		want      string
	}{
		"silence": {"rtu", func([]byte) []byte { return nil },
			"unit 7 does not answer in 100ms: check that it has this unit_id and is set to 115200 8N1"},
		"half a frame": {"rtu", half, "unit 7"},
		"checksum": {"rtu", func(f []byte) []byte { f[len(f)-1] ^= 1; return f },
			"unit 7: the answer is garbled (bad crc): check that it is set to 115200 8N1"},
		"another unit": {"rtu", func([]byte) []byte { return modbusfake.RTU(8, []byte{3, 2, 0, 1}) },
			"unit 7: another unit answers"},
		"another function": {"rtu", func([]byte) []byte { return modbusfake.RTU(7, []byte{9, 2, 0, 1}) }, "garbled"},
		"another length":   {"rtu", func([]byte) []byte { return modbusfake.RTU(7, []byte{3, 4, 0, 1, 0, 2}) }, "garbled"},
		"closed":           {"tcp", func([]byte) []byte { return nil }, "unit 7: the host closes the connection"},
		"half by TCP":      {"tcp", half, "unit 7 does not answer in 100ms: check its unit_id"},
		"another unit by TCP": {"tcp", func(f []byte) []byte { f[6] = 8; return f },
			"unit 7: another unit answers"},
		"gateway": {"tcp", func(f []byte) []byte { return append(f[:4:4], 0, 3, 7, 0x83, 11) },
			"unit 7 does not answer in 100ms: check its unit_id"},
		"no end": {"tcp", func(f []byte) []byte { return append(f[:4:4], 0xFF, 0xFF, 7, 3, 2) }, "unit 7: protocol error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUnit()
			b := opened(t, u, c.transport, hasty)
			u.Mangle(c.mangle)
			// A machine that is busy may be too late even for an answer that is there.
			r, err := Register{Holding, 0, Uint16, Big}, error(nil)
			for range 50 {
				if _, err = b.Read(t.Context(), 7, r); err != nil && strings.Contains(err.Error(), c.want) {
					break
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			u.Mangle(nil)
			v := 0.0
			for range 50 {
				if v, err = b.Read(t.Context(), 7, r); err == nil {
					break
				}
			}
			if v != 1234 || err != nil {
				t.Errorf("afterwards: %v, %v", v, err)
			}
		})
	}
}

// TestLateAnswerIsNotUsedForTheNextRequest: a frame of Modbus RTU does not say what it answers.
func TestLateAnswerIsNotUsedForTheNextRequest(t *testing.T) {
	u := newUnit()
	b := opened(t, u, "rtu", hasty)
	u.Mangle(func([]byte) []byte { return nil })
	if v, err := b.Read(t.Context(), 7, Register{Holding, 1, Uint16, Big}); err == nil {
		t.Fatalf("silence is %v", v)
	}
	u.Send(t, modbusfake.RTU(7, []byte{3, 2, 0xFF, 0xFE})) // register 1, too late
	u.Mangle(nil)
	for range 50 {
		v, err := b.Read(t.Context(), 7, Register{Holding, 0, Uint16, Big})
		if err == nil && v != 1234 {
			t.Fatalf("register 0 is %v, the late answer of register 1", v)
		}
		if err == nil {
			return
		}
	}
	t.Error("the bus does not work any more")
}

// TestOneRequestAtATime: no unit on the line sees a request before the last one is answered.
func TestOneRequestAtATime(t *testing.T) {
	u := newUnit()
	b := opened(t, u, "rtu", patient)
	var all sync.WaitGroup
	for range 4 {
		other, err := b.buses.Acquire(b.settings)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for range 5 {
				if v, err := other.Read(t.Context(), 7, Register{Holding, 0, Uint16, Big}); v != 1234 || err != nil {
					t.Errorf("%v, %v", v, err)
				}
			}
			if err := other.Release(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := u.Overlap(); n > 0 {
		t.Errorf("%d requests came too early", n)
	}
	if b.users != 1 || b.client == nil {
		t.Errorf("%d users, connected: %v", b.users, b.client != nil)
	}
}

// TestAcquireEndsWithItsContext, both for the turn and for a late answer.
func TestAcquireEndsWithItsContext(t *testing.T) {
	b := opened(t, newUnit(), "rtu", patient)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.token <- struct{}{}
	if _, err := b.Read(ctx, 7, Register{}); !errors.Is(err, context.Canceled) {
		t.Errorf("without a turn: %v", err)
	}
	<-b.token
	b.silent = time.Now().Add(time.Hour)
	if err := b.connect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("before the line is silent: %v", err)
	}
}

// TestAcquireFailsIfTheHolderHangs: the wait does not count as time of the sampler's call.
func TestAcquireFailsIfTheHolderHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Bus{settings: Settings{Host: "meter:502", Timeout: time.Second}, token: make(chan struct{}, 1)}
		if err := b.lock(t.Context(), 9); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		time.Sleep(time.Second)
		began := time.Now()
		_, err := b.Read(ctx, 7, Register{})
		if took := time.Since(began); err == nil || took != maxHold-time.Second ||
			!strings.Contains(err.Error(), "meter:502 is busy: unit 9 has not returned for 15s") {
			t.Errorf("%v after %v", err, took)
		}
		// Many that come back, one after the other, are no reason.
		go func() {
			time.Sleep(maxHold / 2)
			b.unlock()
		}()
		if err := b.lock(ctx, 8); err == nil || !strings.Contains(err.Error(), "unit 9") {
			t.Errorf("%v", err) // it has held it for long already
		}
		time.Sleep(maxHold)
		for unit := range byte(3) {
			if err := b.lock(ctx, unit); err != nil {
				t.Error(err)
			}
			go func() {
				time.Sleep(maxHold * 2 / 3)
				b.unlock()
			}()
		}
		time.Sleep(maxHold)
	})
}

func TestModbusBusHasOneSetting(t *testing.T) {
	var buses Buses
	s := Settings{Device: "/dev/ttyUSB0", Line: Line{9600, 'N', 1}, Timeout: time.Second}
	b, err := buses.Acquire(s)
	if err != nil {
		t.Fatal(err)
	}
	other := s
	other.Line.Baud = 19200
	const want = "with other settings (serial: 9600 8N1, timeout: 1s)"
	if _, err := buses.Acquire(other); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("other settings: %v", err)
	}
	if err := b.Release(); err != nil {
		t.Error(err)
	}
	if b, err = buses.Acquire(other); err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := b.Release(); err != nil || len(buses.open) != 0 {
		t.Errorf("%v, %v", err, slices.Collect(maps.Keys(buses.open)))
	}
}

func TestConnectionErrorsAreExplained(t *testing.T) {
	dir := t.TempDir()
	for device, want := range map[string]string{
		dir + "/ttyUSB0": "ls /dev/serial/by-id shows the adapters",
		"/dev/null":      "is not a serial line",
	} {
		b, err := new(Buses).Acquire(Settings{Device: device, Line: Line{9600, 'N', 1}, Timeout: hasty})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(t.Context(), 1, Register{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", device, err, want)
		}
		if err := b.Release(); err != nil {
			t.Error(err)
		}
	}
}

func TestLinesAndHosts(t *testing.T) {
	for text, want := range map[string]string{
		"9600 8N1": "9600 8N1", "115200 8E1": "115200 8E1", "1200 8O2": "1200 8O2",
		"9600": "write e.g. 9600 8N1", "9600 7E1": "has 7 data bits", "9601 8N1": "9601 is not a rate",
		"fast 8N1": "write e.g.", "9600 8X1": "write e.g.", "9600 8N3": "write e.g.", "": "write e.g.",
	} {
		l, err := ParseLine(text)
		if got := l.String(); got != want && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"192.168.1.20": "192.168.1.20:502", "meter.lan:1502": "meter.lan:1502", "::1": "[::1]:502", "[::1]:503": "[::1]:503",
		"": "", ":502": "", "meter:0": "", "meter:x": "", "tcp://meter:502": "", "a b": "",
	} {
		if got, err := ParseHost(text); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

// FuzzAnswer reads whatever a host may answer: a value or an error, and never without end.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{"",
		"\x00\x01\x00\x00\x00\x07\x07\x03\x04\x43\x66\x33\x33", // 230.2
		"\x00\x01\x00\x00\x00\x07\x07\x03\x04\x7f\xc0\x00\x00", // no number
		"\x00\x01\x00\x00\x00\x05\x07\x03\x02\x04\xd2",
		"\x00\x01\x00\x00\x00\x03\x07\x83\x02",
		"\x00\x02\x00\x00\x00\x05\x07\x03\x02\x04\xd2\x00\x01",
		"\x00\x01\xff\xff\xff\xff\x07",
		"\x00\x01\x00\x00\x00\x00\x07",
	} {
		f.Add([]byte(answer))
	}
	var mu sync.Mutex
	f.Fuzz(func(t *testing.T, answer []byte) {
		mu.Lock()
		defer mu.Unlock()
		u := newUnit()
		b := opened(t, u, "tcp", hasty)
		u.Mangle(func([]byte) []byte { return append([]byte{}, answer...) })
		v, err := b.Read(t.Context(), 7, Register{Holding, 0, Float32, Big})
		if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			t.Errorf("%x: %v", answer, v)
		}
	})
}

func ExampleRegister_String() {
	fmt.Println(Register{Table: Holding, Address: 10}, Register{Table: Discrete, Address: 3})
	// Output: holding register 10 discrete input 3
}
