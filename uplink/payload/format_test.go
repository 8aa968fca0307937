package payload_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

func ExampleAppendPlain() {
	for _, r := range []sensors.Reading{
		{Value: 45.2, Unit: "%"},
		{Value: 1, State: "open"},
		{Err: "i2c-1 0x38: no acknowledge"},
		{Err: "no reading since start", State: "open"},
	} {
		fmt.Printf("%s\n", payload.AppendPlain(nil, &r))
	}
	// Output:
	// 45.2
	// open
	// unavailable
	// unavailable
}

// TestPlainNumberIsTheOneInJSON: who changes the format of a stream gets the same digits.
func TestPlainNumberIsTheOneInJSON(t *testing.T) {
	for _, v := range []float64{0, 1, -0.5, 45.2, 1e-7, 1e6, 123456789.125, 1e21, math.MaxFloat64,
		math.SmallestNonzeroFloat64} {
		r := sensors.Reading{Value: v}
		plain := string(payload.AppendPlain(nil, &r))
		if got, err := strconv.ParseFloat(plain, 64); err != nil || got != v {
			t.Errorf("%v is %q, which reads as %v, %v", v, plain, got, err)
		}
		var object struct{ Value json.RawMessage }
		if err := json.Unmarshal(payload.Append(nil, queue.Item{Reading: r}, false), &object); err != nil {
			t.Fatal(err)
		}
		if string(object.Value) != plain {
			t.Errorf("%v is %s in JSON and %s plain", v, object.Value, plain)
		}
	}
}

func TestFormatOfAStream(t *testing.T) {
	f := payload.Formats{Default: payload.Plain, Streams: map[string]payload.Format{"door": payload.JSON,
		"hum": payload.PlainHistory}}
	for stream, want := range map[string]payload.Format{"door": payload.JSON, "hum": payload.PlainHistory,
		"removed": payload.Plain} {
		if got := f.Of(stream); got != want {
			t.Errorf("%s has format %d, want %d", stream, got, want)
		}
	}
	var none payload.Formats
	if none.Of("door").IsPlain() {
		t.Error("without a word about it a payload is plain")
	}
}

func TestAppendPlainAllocatesNothing(t *testing.T) {
	b, r := make([]byte, 0, 64), sensors.Reading{Value: 45.2}
	if n := testing.AllocsPerRun(100, func() { b = payload.AppendPlain(b[:0], &r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
