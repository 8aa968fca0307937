package gpio

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A Line is one line held as an input. It is for one goroutine at a time; Close ends
// a wait of another.
type Line interface {
	// Level reads the level now: high is the higher voltage, whatever that means.
	Level(context.Context) (high bool, err error)
	// WaitEdges returns with the first edges there are, or with none after the
	// timeout or when ctx is done. Some lines announce none, and the best miss some.
	WaitEdges(ctx context.Context, timeout time.Duration, into []Edge) (n int, err error)
	Close() error
}

// An Edge is one change of a line.
type Edge struct {
	High bool      // what it changed to
	At   time.Time // when the kernel saw it
	Lost uint32    // edges before this one that could not be kept
}

// Request is what a line is wanted for.
type Request struct {
	Pull   Pull   // the bias, set for as long as the line is held
	Edges  Edges  // those that it announces
	Buffer uint32 // how many edges the kernel keeps until they are read
}

// Edges are those that a line announces.
type Edges uint8

const (
	BothEdges Edges = iota // and if it announces none, its level is polled
	RisingEdges
	FallingEdges
)

// Pull is the bias of a line: the resistor inside the SoC.
type Pull string

const (
	// as written in a configuration
	PullUp   Pull = "up"
	PullDown Pull = "down"
	PullOff  Pull = "off"
)

// A Leveler is a line of which only the level can be had.
type Leveler interface {
	Level(context.Context) (high bool, err error)
	Close() error
}

// A PolledLine is a line that announces no edges: its user reads the level after each
// wait.
type PolledLine struct{ Leveler }

// PollWait is how long a wait for edges takes on a line that announces none: short
// against a debounce of 50 ms.
const PollWait = 20 * time.Millisecond

// WaitEdges lets [PollWait] or the timeout pass and returns no edges.
func (PolledLine) WaitEdges(ctx context.Context, timeout time.Duration, _ []Edge) (int, error) {
	_ = host.Sleep(ctx, min(max(timeout, time.Millisecond), PollWait))
	return 0, nil
}
