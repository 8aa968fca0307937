package uplink

import (
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// The examples of the contract, to the letter.
func TestPayloadsAreThoseOfTheContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Broker: mqtt.Broker{ClientID: "porch", Clock: clock.NewTimekeeper(clock.TrustAlways)},
			Boot: "17-9f3c02ab"}, nil, nil, slog.New(slog.DiscardHandler))
		stamp := func(ms int64, age time.Duration) clock.Stamp {
			at := l.opt.Clock.Now().Before(age)
			at.Unix = ms
			return at
		}
		doubted := stamp(5, 10*time.Second+time.Millisecond)
		doubted.Clock = clock.Unsynced
		for want, it := range map[string]queue.Item{
			`{"ts":1763640000123,"boot":"17-9f3c02ab","seq":41,"value":45.2,"unit":"%"}`: {Boot: "17-9f3c02ab",
				Reading: sensors.Reading{At: stamp(1763640000123, 10*time.Second), Seq: 41, Value: 45.2, Unit: "%"}},
			`{"ts":1763640002123,"boot":"17-9f3c02ab","seq":7,"value":1,"state":"open"}`: {Boot: "17-9f3c02ab",
				Reading: sensors.Reading{At: stamp(1763640002123, 0), Seq: 7, Value: 1, State: "open"}},
			`{"ts":1763630000123,"boot":"16-51d0c77e","seq":30,"value":44,"unit":"%",` +
				`"historical":true}`: {Boot: "16-51d0c77e",
				Reading: sensors.Reading{At: stamp(1763630000123, 0), Seq: 30, Value: 44, Unit: "%"}},
			`{"ts":1763640060123,"boot":"17-9f3c02ab","seq":42,"value":null,"error":"i2c-1 0x38: no ` +
				`acknowledge"}`: {Boot: "17-9f3c02ab",
				Reading: sensors.Reading{At: stamp(1763640060123, 0), Seq: 42, Err: "i2c-1 0x38: no acknowledge"}},
			`{"ts":5,"boot":"17-9f3c02ab","seq":1,"value":-0.01,"unit":"°C","historical":true,` +
				`"clock":"unsynced"}`: {Boot: "17-9f3c02ab",
				Reading: sensors.Reading{At: doubted, Seq: 1, Value: -0.01, Unit: "°C"}},
			`{"ts":7,"start":"18-00000000","seq":3,"event":"gap","stream":"room","boot":"17-9f3c02ab","from":5,` +
				`"to":9,"count":4,"why":"thinned"}`: {Boot: "18-00000000",
				Event: "gap", Details: `{"stream":"room","boot":"17-9f3c02ab","from":5,"to":9,"count":4,` +
					`"why":"thinned"}`, Reading: sensors.Reading{At: stamp(7, 0), Seq: 3}},
			`{"ts":7,"boot":"18-00000000","seq":4,"event":"storage","state":"works"}`: {Boot: "18-00000000",
				Event: "storage", Details: `{"state":"works"}`, Reading: sensors.Reading{At: stamp(7, 0), Seq: 4}},
		} {
			if got := string(payload.Append(nil, it, l.historical(&it))); !sameJSON(t, got, want) {
				t.Errorf("\ngot  %s\nwant %s", got, want)
			}
		}
	})
}

func sameJSON(t *testing.T, got, want string) bool {
	t.Helper()
	var a, b map[string]any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(a)
	other, _ := json.Marshal(b)
	return string(again) == string(other)
}
