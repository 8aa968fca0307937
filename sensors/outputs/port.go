package outputs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// ErrNoReadBack is the error of [Line.Get] for hardware that cannot be read back.
var ErrNoReadBack = errors.New("this line cannot be read back")

const (
	lineTimeout = time.Second            // for one call to a line
	lineGrace   = 500 * time.Millisecond // for it to return after its context has ended
	settleTime  = 20 * time.Millisecond  // between the safe level and the release of a line: for the relay's driver
)

// A port is the line of an output with a time limit for each call. A call that hangs in
// the kernel is abandoned with its goroutine, and the port makes no other call until it has
// returned. Only one goroutine may use a port.
type port struct {
	spec Spec
	open Open

	line Line      // nil: it is not open
	hung *lineCall // an abandoned call that has not returned; nil: none
}

// A lineCall is a call to a line, on a goroutine of its own.
type lineCall struct {
	done chan struct{} // closed when line and err are set
	line Line          // the open line after the call; nil: none
	err  error
}

// A lineFunc uses a line, which is nil if it is not open, and returns the line that is open
// afterwards; nil: none.
type lineFunc func(context.Context, Line) (Line, error)

// do calls do, at most for lineTimeout and lineGrace, and keeps the line that it returns.
func (p *port) do(ctx context.Context, do lineFunc) error {
	if p.hung != nil {
		return errors.New("hangs: an earlier call has not returned")
	}
	// The end of the agent's context must not cancel a call: the last one makes the line safe.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lineTimeout)
	defer cancel()
	c, line := &lineCall{done: make(chan struct{})}, p.line
	go func() {
		defer close(c.done)
		c.line, c.err = catchPanic(ctx, line, do)
	}()
	limit := time.NewTimer(lineTimeout + lineGrace)
	defer limit.Stop()
	select {
	case <-c.done:
		p.line = c.line
		return c.err
	case <-limit.C:
		p.hung = c
		return fmt.Errorf("hangs: no answer for %v", lineTimeout+lineGrace)
	}
}

// catchPanic calls do and returns a panic of the line as an error with its stack.
func catchPanic(ctx context.Context, was Line, do lineFunc) (line Line, err error) {
	defer func() {
		if r := recover(); r != nil {
			line, err = was, fmt.Errorf("the line panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return do(ctx, was)
}

// hungDone returns a channel that is closed when the abandoned call returns; nil: there is
// none.
func (p *port) hungDone() <-chan struct{} {
	if p.hung == nil {
		return nil
	}
	return p.hung.done
}

// collectHung takes the line of the abandoned call if the call has returned, and reports
// whether it has.
func (p *port) collectHung() bool {
	if p.hung == nil {
		return false
	}
	select {
	case <-p.hung.done:
		p.line, p.hung = p.hung.line, nil
		return true
	default:
		return false
	}
}

// set opens the line if necessary, switches it on or off, and reads it back. If the switch
// fails it opens the line again and tries once more: a spike on a bus, or a program that has
// ended, must not prevent an alarm.
func (p *port) set(ctx context.Context, on bool) error {
	return p.do(ctx, func(ctx context.Context, line Line) (Line, error) {
		if line != nil {
			err := line.Set(ctx, on)
			if err == nil {
				return line, readBack(ctx, line, on)
			}
			if ctx.Err() != nil {
				return line, err // there is no time for a second try
			}
			_ = line.Close() // the line is broken: the error of Set says why
		}
		line, err := p.open(ctx, p.spec)
		if err != nil {
			return nil, err
		}
		if on != p.spec.Safe { // an opened line is at Safe already
			if err := line.Set(ctx, on); err != nil {
				return line, err
			}
		}
		return line, readBack(ctx, line, on)
	})
}

// check reads the line back and returns an error if its level is not on. A line that cannot
// be read back passes.
func (p *port) check(ctx context.Context, on bool) error {
	return p.do(ctx, func(ctx context.Context, line Line) (Line, error) {
		if line == nil {
			return nil, errors.New("the line is not open")
		}
		return line, readBack(ctx, line, on)
	})
}

// readBack compares the level of a line with the one it should have. It reads a second time
// before it returns an error: one disturbed transfer must not end an alarm.
func readBack(ctx context.Context, line Line, on bool) error {
	err := compare(ctx, line, on)
	if err != nil && ctx.Err() == nil {
		time.Sleep(secondReadAfter)
		err = compare(ctx, line, on)
	}
	return err
}

// secondReadAfter is longer than a spike of a relay lasts, and than a long wire needs to
// change its level.
const secondReadAfter = 5 * time.Millisecond

// compare reads the line once and compares its level with on.
func compare(ctx context.Context, line Line, on bool) error {
	switch is, err := line.Get(ctx); {
	case errors.Is(err, ErrNoReadBack):
		return nil
	case err != nil:
		return err
	case is != on:
		return fmt.Errorf("is %s and should be %s", word(is), word(on))
	}
	return nil
}

// closeLine closes the line. If a call hangs, it returns at once; the line is made safe and
// closed when that call returns.
func (p *port) closeLine(ctx context.Context) error {
	safe := p.spec.Safe
	if c := p.hung; c != nil {
		p.line, p.hung = nil, nil
		go func() {
			if <-c.done; c.line != nil {
				_ = c.line.Set(context.WithoutCancel(ctx), safe) // nobody waits for the error any more
				_ = c.line.Close()
			}
		}()
		return nil
	}
	if p.line == nil {
		return nil
	}
	return p.do(ctx, func(_ context.Context, line Line) (Line, error) { return nil, line.Close() })
}

// word returns the state word of a level.
func word(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
