package lines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// quitGrace is how long a program has to end by itself, after the end of its standard
// input and before SIGTERM.
const quitGrace = 500 * time.Millisecond

// A Told is a program that is kept running and told lines on its standard input. It is for
// one goroutine at a time.
type Told struct {
	command *command
	in      *os.File
}

// StartTold starts a program. What it writes is dropped, but for the last line of its
// standard error, which says why it ended.
func StartTold(args []string) (*Told, error) {
	inEnd, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c, err := startCommand(args, inEnd)
	inEnd.Close() // the program has its own; nothing was written here
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return &Told{c, in}, nil
}

// Tell writes a line. It waits, until ctx is done, for a program that does not read. It fails
// if the program has ended.
func (t *Told) Tell(ctx context.Context, line string) error {
	if err := t.Alive(); err != nil {
		return err
	}
	if err := t.in.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { t.in.SetWriteDeadline(time.Unix(1, 0)) })() // its error is the write's
	switch _, err := t.in.WriteString(line + "\n"); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s does not read its standard input", t.command.name())
	case err != nil:
		return errors.Join(fmt.Errorf("tell %s: %w", t.command.name(), err), t.Alive())
	}
	return nil
}

// Alive is an error that says how the program ended; nil: it runs.
func (t *Told) Alive() error {
	t.command.drain()
	if !t.command.exited() {
		return nil
	}
	return t.command.status()
}

// Close ends the standard input of the program, gives it half a second to end by itself, and
// ends it.
func (t *Told) Close() error {
	err := t.in.Close()
	t.command.await(context.Background(), quitGrace)
	return errors.Join(err, t.command.Close())
}
