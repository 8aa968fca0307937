// Package scan finds the hardware of the machine for `holdfast scan`: GPIO lines, parts on the
// I2C buses, and devices that the kernel reads. It changes nothing.
//
// It scans an I2C bus as carefully as i2cdetect does by default: see [Bus]. In sysfs it reads only
// names, no values: the value of a 1-wire thermometer takes a second.
//
// Functions are safe for concurrent use.
package scan
