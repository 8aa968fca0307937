package i2c_test

import (
	"context"
	"fmt"
	"time"

	periph "periph.io/x/conn/v3/i2c"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c/i2cfake"
)

// A measurement is a function whose transfers end with a context. An error names the bus
// and the address.
func ExamplePart_Measure() {
	bus := i2cfake.Reading(0xff) // a bus without a part, but for an acknowledge
	buses := i2c.Buses{OpenBus: func(string) (periph.BusCloser, error) { return bus, nil }}
	part, err := buses.Open(&host.Host{Dev: "/dev"}, 1, 0x44)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer part.Close()
	err = part.Measure(context.Background(), func() error {
		_, err := part.Query(time.Millisecond, 0xff, 2, 0x24, 0x00) // an SHT3x measures once
		return err
	})
	fmt.Println(err)
	// Output: i2c-1 0x44: reads only 0xff (is it still wired?)
}

// The datasheet of the SHT3x has this example (4.12).
func ExampleEncodeWords() {
	sent := i2c.EncodeWords(0xff, 0xbeef)
	fmt.Printf("% x\n", sent)
	words, err := i2c.DecodeWords(0xff, sent)
	fmt.Printf("%x %v\n", words, err)
	// Output:
	// be ef 92
	// [beef] <nil>
}

func ExampleBus_UnmarshalText() {
	for _, text := range []string{"1", "i2c-1", "/dev/i2c-11", "one"} {
		var bus i2c.Bus
		err := bus.UnmarshalText([]byte(text))
		fmt.Println(bus, err)
	}
	// Output:
	// i2c-1 <nil>
	// i2c-1 <nil>
	// i2c-11 <nil>
	// i2c-0 "one" is not a valid I2C bus: write its number, as in i2c: "1"
}
