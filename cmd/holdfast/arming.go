package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/setup"
	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// runArming prints a line for the codes file. The code is not an argument: other users of
// the machine could see it, and the shell would store it.
func runArming(ctx context.Context, args []string) error {
	f := flags("arming")
	f.Usage = func() {
		fmt.Fprint(f.Output(), "Usage: holdfast arming code NAME >> CODES_FILE\n\n"+
			"Asks for the code of a person, or reads a line of standard input, and prints a line for\n"+
			"arming.codes_file, which has the hash of the code.\n")
	}
	if err := parse(f, args, math.MaxInt); err != nil {
		return err
	}
	if f.Arg(0) != "code" || f.NArg() != 2 {
		return usageError{errors.New("arming needs a verb and a name: holdfast arming code NAME")}
	}
	code, err := readCode(ctx, f.Arg(1))
	if err != nil {
		return err
	}
	line, err := arming.NewLine(f.Arg(1), code)
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintln(stdout, line)
	return err
}

// readCode asks twice on a terminal, because the input is not shown, and reads one line of
// any other input.
func readCode(ctx context.Context, name string) (string, error) {
	if !setup.IsTerminal(os.Stdin) {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if line == "" {
			return "", usageError{fmt.Errorf("no code on standard input: %w", err)}
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	codes, err := setup.AskSecrets(ctx, os.Stdin, stderr, "Code of "+name, "Once more")
	if err == nil && codes[0] != codes[1] {
		err = usageError{errors.New("these are two codes: nothing is written")}
	}
	if err != nil {
		return "", err
	}
	return codes[0], nil
}
