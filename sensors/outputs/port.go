package outputs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// ErrNoReadBack is what a [Line] returns that cannot be asked what it does.
var ErrNoReadBack = errors.New("this line cannot be read back")

const (
	lineTimeout = time.Second            // for one call to a line
	lineGrace   = 500 * time.Millisecond // for it to return after its context has ended
	settleTime  = 20 * time.Millisecond  // from the safe level to the release of a line
)

// A port is the line of an output, whose every call is bounded. One that hangs in the
// kernel is left behind, with its goroutine, and nothing else is asked of the line until it
// returns. A port is for one goroutine.
type port struct {
	spec Spec
	open Open

	line Line      // nil: it is not open
	hung *lineCall // that has not returned yet; nil: none
}

// A lineCall is a call to a line, on a goroutine of its own.
type lineCall struct {
	done chan struct{} // closed when what follows is set
	line Line          // that is open afterwards; nil: none
	err  error
}

// A lineFunc does something with a line, nil if it is not open, and returns the line that is
// open afterwards.
type lineFunc func(context.Context, Line) (Line, error)

// do calls do and keeps the line that it returns.
func (p *port) do(ctx context.Context, do lineFunc) error {
	if p.hung != nil {
		return errors.New("hangs: an earlier call has not returned")
	}
	// A line that goes to its safe level must not be kept from it by the end of the agent.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lineTimeout)
	defer cancel()
	c, line := &lineCall{done: make(chan struct{})}, p.line
	go func() {
		defer close(c.done)
		c.line, c.err = guarded(ctx, line, do)
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

// guarded makes a panic of a line that line's error.
func guarded(ctx context.Context, was Line, do lineFunc) (line Line, err error) {
	defer func() {
		if r := recover(); r != nil {
			line, err = was, fmt.Errorf("the line panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return do(ctx, was)
}

// back is closed when a call that was left behind has returned; nil: there is none.
func (p *port) back() <-chan struct{} {
	if p.hung == nil {
		return nil
	}
	return p.hung.done
}

// returned takes what came of a call that was left behind, if it has returned.
func (p *port) returned() bool {
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

// set opens the line if need be, makes the output on or off, and reads it back. A line that
// fails is opened anew and told once more: a spike on a bus or a program that has ended must
// not cost the alarm that it was about.
func (p *port) set(ctx context.Context, on bool) error {
	return p.do(ctx, func(ctx context.Context, line Line) (Line, error) {
		if line != nil {
			err := line.Set(ctx, on)
			if err == nil {
				return line, readBack(ctx, line, on)
			}
			if ctx.Err() != nil {
				return line, err // there is no time left
			}
			_ = line.Close() // it fails anyway
		}
		line, err := p.open(ctx, p.spec)
		if err != nil {
			return nil, err
		}
		if on != p.spec.Safe { // at which it is opened
			if err := line.Set(ctx, on); err != nil {
				return line, err
			}
		}
		return line, readBack(ctx, line, on)
	})
}

// check reads back what the line does. A line that cannot be read back does what it should.
func (p *port) check(ctx context.Context, on bool) error {
	return p.do(ctx, func(ctx context.Context, line Line) (Line, error) {
		if line == nil {
			return nil, errors.New("the line is not open")
		}
		return line, readBack(ctx, line, on)
	})
}

// readBack compares what a line does with what it should. It looks twice before it says
// otherwise: one disturbed transfer must not end an alarm.
func readBack(ctx context.Context, line Line, on bool) error {
	err := compare(ctx, line, on)
	if err != nil && ctx.Err() == nil {
		time.Sleep(lookAgain)
		err = compare(ctx, line, on)
	}
	return err
}

// lookAgain is longer than a spike of a relay, and than a long wire needs to change its level.
const lookAgain = 5 * time.Millisecond

// compare is one look.
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

// closeLine closes the line. One that hangs is made safe and closed when it returns.
func (p *port) closeLine(ctx context.Context) error {
	safe := p.spec.Safe
	if c := p.hung; c != nil {
		p.line, p.hung = nil, nil
		go func() {
			if <-c.done; c.line != nil {
				_ = c.line.Set(context.WithoutCancel(ctx), safe) // nobody is left to tell
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

// word is the state word of a level.
func word(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
