package gpio

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A Line is one line held as an input. It is for one goroutine at a time; Close ends
// a wait of another.
type Line interface {
	// Level reads the level now; high is the higher voltage.
	Level(context.Context) (high bool, err error)
	// WaitEdges waits for edges and returns how many it wrote to into: none after the timeout
	// or the end of ctx. Some lines report no edges, and any line may lose some.
	WaitEdges(ctx context.Context, timeout time.Duration, into []Edge) (n int, err error)
	Close() error
}

// An Edge is one change of a line.
type Edge struct {
	High bool      // what it changed to
	At   time.Time // when the kernel saw it
	Lost uint32    // number of edges before this one that were dropped
}

// A Request says how a line is to be opened.
type Request struct {
	Pull   Pull   // the bias, set for as long as the line is held
	Edges  Edges  // which edges it reports
	Buffer uint32 // how many edges the kernel buffers until they are read
}

// Edges says which edges a line reports.
type Edges uint8

const (
	BothEdges Edges = iota // if the line cannot report edges, its level is polled
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

// A Leveler is a line that reports only its level.
type Leveler interface {
	Level(context.Context) (high bool, err error)
	Close() error
}

// A PolledLine is a line that reports no edges: its user reads the level after each wait.
type PolledLine struct{ Leveler }

// PollWait is how long WaitEdges of a PolledLine takes: shorter than the default debounce of
// 50 ms.
const PollWait = 20 * time.Millisecond

// WaitEdges waits for PollWait or the timeout, and returns no edges.
func (PolledLine) WaitEdges(ctx context.Context, timeout time.Duration, _ []Edge) (int, error) {
	_ = host.Sleep(ctx, min(max(timeout, time.Millisecond), PollWait))
	return 0, nil
}
