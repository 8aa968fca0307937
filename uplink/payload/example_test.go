package payload_test

import (
	"fmt"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

var humidity = queue.Item{Boot: "17-9f3c02ab", Reading: sensors.Reading{Stream: "hum", Seq: 41, Value: 45.2,
	Unit: "%", At: clock.Stamp{Unix: 1763640000123, Clock: clock.Synced}}}

func ExampleAppend() {
	fmt.Printf("%s\n", payload.Append(nil, humidity, false))
	// Output: {"ts":1763640000123,"boot":"17-9f3c02ab","seq":41,"value":45.2,"unit":"%"}
}

func ExampleAppendNamed() {
	fmt.Printf("%s\n", payload.AppendNamed(nil, "porch", humidity, false))
	// Output:
	// {"client_id":"porch","stream":"hum","ts":1763640000123,"boot":"17-9f3c02ab","seq":41,"value":45.2,"unit":"%"}
}

func ExampleTopics() {
	t := payload.NewTopics("porch", payload.DefaultPatterns, []string{"door"})
	fmt.Println(t.Reading("door"), t.State("door"), t.Agent("status"))
	// Output: porch/door porch/door/state porch/agent/status
}
