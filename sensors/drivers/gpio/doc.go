// Package gpio opens lines of the machine's GPIO chips. A [Pin] is a line as the configuration
// names it. [Open] opens it as an input: a [Line] reports its level, and its edges with the
// kernel's timestamps. [OpenOutput] opens it as an output, with the wanted level from the first
// moment.
//
// It uses the kernel's interface of Linux 5.10 (linux/gpio.h, version 2), and periph for the
// level of lines that report no edges.
//
// # Concurrency
//
// Functions are safe for concurrent use. Only one goroutine at a time may use a [Line], but
// another one may call its Close, which ends a wait.
package gpio
