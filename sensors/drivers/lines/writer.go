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

// A Writer writes lines to the standard input of a program that it keeps running. Only one
// goroutine at a time may use it.
type Writer struct {
	command *command
	in      *os.File
}

// StartWriter starts a program. It discards the program's output, except for the last line of its
// standard error, which CheckAlive returns after the program has ended.
func StartWriter(args []string) (*Writer, error) {
	inEnd, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c, err := startCommand(args, inEnd)
	inEnd.Close() // the program has its own; nothing was written here
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return &Writer{c, in}, nil
}

// WriteLine writes a line. If the program does not read, it waits until ctx is done. It returns an
// error if the program has ended.
func (w *Writer) WriteLine(ctx context.Context, line string) error {
	if err := w.CheckAlive(); err != nil {
		return err
	}
	if err := w.in.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { w.in.SetWriteDeadline(time.Unix(1, 0)) })() // its error is the write's
	switch _, err := w.in.WriteString(line + "\n"); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s does not read its standard input", w.command.name())
	case err != nil:
		return errors.Join(fmt.Errorf("tell %s: %w", w.command.name(), err), w.CheckAlive())
	}
	return nil
}

// CheckAlive returns an error that says how the program ended; nil: it runs.
func (w *Writer) CheckAlive() error {
	w.command.drain()
	if !w.command.exited() {
		return nil
	}
	return w.command.status()
}

// Close closes the standard input of the program, waits half a second for the program to exit,
// and then ends it with its group.
func (w *Writer) Close() error {
	err := w.in.Close()
	w.command.await(context.Background(), quitGrace)
	return errors.Join(err, w.command.Close())
}
