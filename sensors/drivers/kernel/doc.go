// Package kernel finds and reads devices in sysfs that the kernel's drivers measure (hwmon,
// Industrial I/O, thermal zones), and serialises the parts on a 1-wire bus.
//
// When a device is removed, the kernel reuses its number for the next one. So a [List] finds a
// device by its name and hardware, and a [Device] keeps its folder open: a read there gives data
// of that device or an error.
//
// The kinds in package sysfs know which files to read and what they mean.
//
// # Concurrency
//
// Functions and lists are safe for concurrent use. Only one goroutine at a time may use a
// [Device].
package kernel
