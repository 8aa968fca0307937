package config_test

import (
	"fmt"

	"github.com/holdfast-iot/holdfast/config"
)

// A file with three errors: all of them are reported at once, each with its position and
// the remedy.
func ExampleParse() {
	text := `client_id: porch
mqtt: {server: mqtts://broker.example.com}
queue: {max_size: 64MB}
sensors:
  door: {kind: contact, gpio: GPIO17, every: 1s}
  room: {knid: bme280, i2c: 1}
`
	_, err := config.Parse("config.yaml", []byte(text))
	fmt.Println(err)
	// Output:
	// config.yaml:3:19: queue.max_size: "64MB": unknown unit "MB"; known are B, KiB, MiB, GiB (MB means two things)
	// config.yaml:5:39: sensors.door.every: a contact reports by itself when something happens: leave this out
	// config.yaml:6:10: sensors.room: unknown key "knid" (did you mean "kind"?)
}

// A valid file becomes the options of the agent's packages.
func ExampleParse_valid() {
	text := `client_id: porch
mqtt: {server: mqtts://broker.example.com}
sensors:
  door: {kind: contact, gpio: GPIO17, class: door}
  board: {kind: pi, every: 1m}
`
	cfg, err := config.Parse("config.yaml", []byte(text))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Uplink.Servers[0], cfg.Queue.MaxSize>>20, "MiB")
	for _, s := range cfg.Sensors {
		fmt.Println(s.Name, s.Kind, s.Every, len(s.Streams))
	}
	// Output:
	// mqtts://broker.example.com:8883 64 MiB
	// door contact 0s 1
	// board pi 1m0s 4
}
