package drivers_test

import (
	"context"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// Options come with the defaults of their kind. Their fields are filled from the stanza of
// a sensor by their yaml tags, and Check then returns what is wrong.
func ExampleNew() {
	options, ok := drivers.New("hwmon")
	fmt.Println(ok, "every", options.Pace())
	if err := yaml.Unmarshal([]byte("{name: sht3x, inputs: [temp1, humid1]}"), options); err != nil {
		fmt.Println(err)
	}
	for _, p := range options.Check() {
		fmt.Printf("%s: %s\n", p.Key, p.Text)
	}
	if err := yaml.Unmarshal([]byte("{name: sht3x, inputs: [temp1, humidity1]}"), options); err != nil {
		fmt.Println(err)
	}
	for _, q := range options.Quantities() {
		fmt.Println(q.Name, q.Unit)
	}
	// Output:
	// true every 1m0s
	// inputs: "humid1" is not a valid input: write temp1, humidity1, in0, curr1, power1 or fan1
	// temperature °C
	// humidity %
}

// One Hardware opens all sensors, so that parts on one bus share it.
func ExampleHardware_Open() {
	options, _ := drivers.New("simulated")
	if err := yaml.Unmarshal([]byte("counter: {}"), options); err != nil {
		fmt.Println(err)
		return
	}
	hardware := drivers.NewHardware()
	sensor, err := hardware.Open(context.Background(), sensors.Spec{Name: "load", Options: options})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sensor.Close()
	for range 2 {
		samples, err := sensor.Next(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(samples[0].Quantity, samples[0].Value)
	}
	// Output:
	// count 1
	// count 2
}

// The name of a part leads to the kind that reads it.
func ExampleKindFor() {
	for _, word := range []string{"DS18B20", "BMP180", "pir", "rain gauge", "rain-gauge"} {
		fmt.Printf("%s: %q\n", word, drivers.KindFor(word))
	}
	// Output:
	// DS18B20: "w1"
	// BMP180: "iio"
	// pir: "contact"
	// rain gauge: ""
	// rain-gauge: "pulse"
}
