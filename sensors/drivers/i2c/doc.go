// Package i2c talks to parts on the I2C buses of the machine. [Buses] opens each bus once for
// all parts on it. A [Part] makes the transfers of one measurement under one context, and
// reports where it failed.
//
// If a part holds a bus low, the package opens the bus again, then sends clocks and makes the
// kernel set the adapter up again (see recovery.go). A bus of the configuration follows its
// adapter when the kernel gives the adapter another number (see adapters.go). `holdfast scan`
// uses a [Prober].
//
// The kinds in package drivers define what the bytes mean.
//
// # Concurrency
//
// [Buses] is safe for concurrent use. Only one goroutine at a time may use a [Part]. Parts of
// one bus may be used at the same time: the package serialises their transfers.
package i2c
