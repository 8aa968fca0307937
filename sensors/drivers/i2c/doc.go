// Package i2c speaks to parts on the I2C buses of the machine: [Buses] opens each bus
// once, however many parts are on it, and a [Part] makes a measurement of several
// transfers under one context and reports where it failed.
//
// A bus that a part holds low is opened again, then cleared and set up again by the
// kernel (see recovery.go). A bus of the configuration stays with its adapter when the
// kernel gives that another number (see adapters.go). A [Prober] is a bus as
// `holdfast scan` needs it.
//
// What the bytes mean is a kind's business, in package drivers.
//
// # Concurrency
//
// [Buses] is safe for concurrent use. A [Part] is for one goroutine at a time; parts of
// one bus may be used at the same time, and their transfers are made one after the other.
package i2c
