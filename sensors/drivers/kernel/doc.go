// Package kernel reads what drivers of the kernel measure: devices of hwmon, Industrial
// I/O and thermal zones in sysfs, and the turns of parts on a 1-wire bus.
//
// The kernel gives a device's number to the next one as soon as its owner has gone. A
// [List] therefore finds a device by its name and its hardware, and a [Device] is held
// by its open folder: what can be read there is that device's, or an error.
//
// Which files a sensor reads, and what they mean, is a kind's business, in package
// drivers.
//
// # Concurrency
//
// Functions and lists are safe for concurrent use. A [Device] is for one goroutine at a
// time.
package kernel
