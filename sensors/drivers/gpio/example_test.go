package gpio_test

import (
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
)

// A line has one name however it is written.
func ExamplePin_UnmarshalText() {
	for _, text := range []string{"17", "GPIO17", "pin11", "gpiochip1/3", "line:DOOR"} {
		var pin gpio.Pin
		err := pin.UnmarshalText([]byte(text))
		fmt.Println(pin, err)
	}
	// Output:
	// GPIO17 <nil>
	// GPIO17 <nil>
	// GPIO17 <nil>
	// gpiochip1/3 <nil>
	// line:DOOR <nil>
}
