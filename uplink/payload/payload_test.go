package payload

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

func FuzzPayloadIsAlwaysJSON(f *testing.F) {
	f.Add("17-9f3c02ab", "%", "open", "", 45.2, int64(1763640000123))
	f.Add("", "°C", "\x00\xff\"\\", "no\nacknowledge", math.MaxFloat64, int64(-1))
	f.Fuzz(func(t *testing.T, boot, unit, state, reason string, value float64, ms int64) {
		if math.IsNaN(value) || math.IsInf(value, 0) {
			t.Skip("the sampler makes these failures")
		}
		b := Append(nil, queue.Item{Boot: boot, Reading: sensors.Reading{Unit: unit, State: state, Err: reason,
			Value: value,
			At:    clock.Stamp{Unix: ms, Clock: clock.Estimated}}}, true)
		var p struct {
			TS         int64
			Value      *float64
			Historical bool
		}
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if p.TS != ms || !p.Historical || (p.Value == nil) != (reason != "") || p.Value != nil && *p.Value != value {
			t.Errorf("%s does not say %v at %d, %q", b, value, ms, reason)
		}
	})
}

// TestChangeSaysWhoAndUntilWhen holds the keys of an output's reading.
func TestChangeSaysWhoAndUntilWhen(t *testing.T) {
	r := sensors.Reading{Stream: "siren", Seq: 3, Value: 1, State: "on", By: "rule:intruder", For: 3 * time.Minute,
		At: clock.Stamp{Unix: 1763640000123, Clock: clock.Synced}}
	want := `{"ts":1763640000123,"boot":"17-9f3c02ab","seq":3,"value":1,"state":"on","by":"rule:intruder",` +
		`"until":1763640180123}`
	if got := string(AppendReading(nil, r, "17-9f3c02ab", false)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestUsualUnitsCostNoAllocation: each reading has one.
func TestUsualUnitsCostNoAllocation(t *testing.T) {
	b := make([]byte, 0, 256)
	for _, unit := range []string{"%", "°C", "µg/m³", "Ω"} {
		it := queue.Item{Boot: "17-9f3c02ab", Reading: sensors.Reading{Unit: unit, Value: 45.2}}
		if n := testing.AllocsPerRun(100, func() { b = Append(b[:0], it, true) }); n != 0 {
			t.Errorf("%s: %v allocations", unit, n)
		}
	}
}

// FuzzStringsAreJSON: a string comes back as encoding/json would bring it, whichever way it was
// written.
func FuzzStringsAreJSON(f *testing.F) {
	for _, s := range []string{"%", "°C", "\xc2", "\xc2C", "\xc0\x80", "é\"", "\\", "\u2028", "日本", "\x7f", "<°>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got, want string
		text, err := json.Marshal(s)
		if err == nil {
			err = json.Unmarshal(text, &want)
		}
		if err != nil {
			t.Fatal(err)
		}
		if b := appendString(nil, "", s); json.Unmarshal(b, &got) != nil || got != want {
			t.Errorf("%q is written as %s, which is %q", s, b, got)
		}
	})
}
