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

// IsTerminal reports whether somebody can be asked on a file. It asks for the settings
// that only a terminal has: ioctl_tty(2). A character device such as /dev/null is none.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// A terminal asks a person. It is used by one goroutine. Questions go to out and not to
// in, so that the answers of a command with redirected output can still be given.
type terminal struct {
	in    *os.File
	lines chan string // what is typed, one line each; closed at the end of the input
	out   io.Writer
}

// newTerminal begins to read. The goroutine that reads ends with the input, or with the
// program: nothing wakes a read of a terminal. There is one for a file at most: two
// would take lines from each other.
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

// errEnd is the end of the input before the last answer.
var errEnd = errors.New("the answers end early: nothing is written")

// line asks for one line. An empty one is the preset. Blanks around it are cut off, but
// not for a silent question: there the line is taken as it was typed, and the preset
// has no meaning. When ctx ends the question stays open and the echo is on again.
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
			return line, nil // a blank may be a part of it
		case strings.TrimSpace(line) == "":
			return preset, nil
		}
		return strings.TrimSpace(line), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// AskSecrets asks a person for lines that are not shown, one for each text.
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

// yes asks for yes or no; an empty answer is yes. Anything else than y, yes, n and no
// is asked again, in any case of letters.
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

// hideInput stops the echo of what is typed. restore has to be called, or the person's
// shell shows nothing afterwards.
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
