package homeassistant_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// The topic of the announcement, and one of the entities in it.
func ExampleDevice_Discovery() {
	device := homeassistant.Device{
		ClientID:  "porch",
		Prefix:    "homeassistant",
		Version:   "1.0.0",
		Topics:    payload.NewTopics("porch", payload.DefaultPatterns, []string{"room_humidity"}),
		Heartbeat: time.Minute,
		Streams: []sensors.Stream{{
			Name:     "room_humidity",
			Quantity: sensors.Quantity{Unit: "%", Class: "humidity"},
			Every:    30 * time.Second,
		}},
	}
	config := device.Discovery()

	var announcement struct {
		Components map[string]struct {
			Name        string `json:"name"`
			UniqueID    string `json:"unique_id"`
			DeviceClass string `json:"device_class"`
			StateTopic  string `json:"state_topic"`
			ExpireAfter int    `json:"expire_after"`
		} `json:"components"`
	}
	if err := json.Unmarshal(config.Payload, &announcement); err != nil {
		fmt.Println(err)
	}
	fmt.Println(config.Topic)
	e := announcement.Components["room_humidity"]
	fmt.Println(e.Name, "is", e.UniqueID, "of class", e.DeviceClass)
	fmt.Println("reads", e.StateTopic, "and expires after", e.ExpireAfter, "s")
	// Output:
	// homeassistant/device/porch/config
	// Room humidity is porch/room_humidity of class humidity
	// reads porch/room_humidity/state and expires after 90 s
}
