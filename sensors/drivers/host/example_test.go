package host_test

import (
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// Numbers that the kernel gives in the order of arrival are left out, and those that are
// a place, as the port of USB, stay.
func ExampleStablePath() {
	fmt.Println(host.StablePath("/sys/devices/platform/usb1/1-1/1-1.2/1-1.2:1.0/i2c-11/11-0044"))
	fmt.Println(host.StablePath("/sys/devices/platform/usb1/1-1/1-1.2/1-1.2:1.0/i2c-12/12-0044"))
	// Output:
	// /sys/devices/platform/usb1/1-1/1-1.2/1-1.2:1.0/ic-/-0044
	// /sys/devices/platform/usb1/1-1/1-1.2/1-1.2:1.0/ic-/-0044
}
