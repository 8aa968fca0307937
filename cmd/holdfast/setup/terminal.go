package setup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether a file is a terminal. It reads the settings that only a
// terminal has: ioctl_tty(2). A character device such as /dev/null is no terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// A terminal asks the user. It is used by one goroutine. It prints questions to out and not
// to in, so that they can still be answered if the output of the command is redirected.
type terminal struct {
	in    *os.File
	lines chan string // the lines of the input; closed at its end
	out   io.Writer
}

// newTerminal starts to read. The goroutine that reads ends with the input, or with the
// program, because a read of a terminal cannot be interrupted. Only one terminal may exist
// for a file: two would take lines from each other.
func newTerminal(in *os.File, out io.Writer) *terminal {
	t := &terminal{in: in, lines: make(chan string), out: out}
	go func() {
		defer close(t.lines)
		for r := bufio.NewReader(in); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			t.lines <- strings.TrimRight(line, "\r\n")
		}
	}()
	return t
}

// errEnd means that the input ended before the last answer.
var errEnd = errors.New("the answers end early: nothing is written")

// line asks for one line. An empty line stands for preset. White space around it is
// removed, except for a silent question: there the line is used unchanged, and preset is
// ignored. When ctx ends line returns, with the echo switched on again.
func (t *terminal) line(ctx context.Context, text, preset string, silent bool) (string, error) {
	if preset != "" {
		text += " [" + preset + "]"
	}
	fmt.Fprintf(t.out, "%s: ", text)
	if silent {
		restore, err := hideInput(t.in)
		if err != nil {
			return "", fmt.Errorf("what is typed cannot be hidden: %w: use --password-file", err)
		}
		defer func() { restore(); fmt.Fprintln(t.out) }()
	}
	select {
	case line, ok := <-t.lines:
		switch {
		case !ok:
			return "", errEnd
		case silent:
			return line, nil // white space may be part of it
		case strings.TrimSpace(line) == "":
			return preset, nil
		}
		return strings.TrimSpace(line), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// AskSecrets asks for one line for each text; the input is not shown.
func AskSecrets(ctx context.Context, in *os.File, out io.Writer, texts ...string) (answers []string, err error) {
	t := newTerminal(in, out)
	for _, text := range texts {
		line, err := t.line(ctx, text, "", true)
		if err != nil {
			return nil, err
		}
		answers = append(answers, line)
	}
	return answers, nil
}

// yes asks for yes or no; an empty answer is yes. It repeats the question after anything
// other than y, yes, n and no, in upper or lower case.
func (t *terminal) yes(ctx context.Context, text string) (bool, error) {
	for {
		line, err := t.line(ctx, text, "y", false)
		if err != nil {
			return false, err
		}
		switch strings.ToLower(line) {
		case "y", "yes":
			return true, nil
		case "n", "no":
			return false, nil
		}
		fmt.Fprintln(t.out, "  answer y or n")
	}
}

// hideInput switches the echo of the terminal off. restore has to be called, or the user's
// shell shows no input afterwards.
func hideInput(in *os.File) (restore func(), err error) {
	was, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	hidden := *was
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &hidden); err != nil {
		return nil, err
	}
	return func() { unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, was) }, nil // as it was, if it can be
}
