// Package scan finds what is wired to the machine, for `holdfast scan`: GPIO lines, parts
// on the I2C buses, and what the kernel measures by itself. It changes nothing.
//
// An I2C bus is asked as carefully as i2cdetect does by default: see [Bus]. Of sysfs names
// alone are read and never values, since a value of a 1-wire thermometer takes a second.
//
// Functions may be called at the same time.
package scan
