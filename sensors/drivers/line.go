package drivers

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// line is one line held as an input.
type line interface {
	level(context.Context) (high bool, err error)
	// wait returns with the first edges there are, or with none after the
	// timeout. Some lines announce none, and the best miss some.
	wait(ctx context.Context, timeout time.Duration, into []edge) (n int, err error)
	Close() error
}

// edge is one change of a line.
type edge struct {
	high bool // what it changed to
	at   time.Time
	lost uint32 // edges before this one that could not be kept
}

// request is what a line is wanted for.
type request struct {
	pull   pull
	edges  edges
	buffer uint32 // how many edges the kernel keeps until they are read
}

// edges are those that a line announces.
type edges uint8

const (
	bothEdges edges = iota // and if it announces none, its level is polled
	rising
	falling
)

// pull is the bias of a line: the resistor inside the SoC.
type pull string

const (
	pullUp   pull = "up"
	pullDown pull = "down"
	pullOff  pull = "off"
)

// leveler is a line of which only the level can be had.
type leveler interface {
	level(context.Context) (high bool, err error)
	Close() error
}

// polledLine is a line that announces no edges.
type polledLine struct{ leveler }

const pollWait = 20 * time.Millisecond // short against a debounce of 50 ms

func (polledLine) wait(ctx context.Context, timeout time.Duration, _ []edge) (int, error) {
	_ = host.Sleep(ctx, min(max(timeout, time.Millisecond), pollWait))
	return 0, nil
}
