// Package gpio opens lines of the machine's GPIO chips: a [Pin] says which, as a person
// writes it, and [Open] finds it among the chips as an input, a [Line] that gives its level
// and its edges with the kernel's time of each; [OpenOutput] makes it an output, which has
// its level from the first moment.
//
// It uses the kernel's interface of Linux 5.10 (linux/gpio.h, version 2), and
// periph for the level of lines that announce no edges.
//
// # Concurrency
//
// Functions may be called at the same time. A [Line] is for one goroutine at a
// time; its Close ends a wait of another.
package gpio
