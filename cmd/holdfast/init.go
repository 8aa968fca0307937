package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/scan"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/setup"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// initFlags parses the command line of init. try means that the doctor runs afterwards.
//
// Given has the flags that the user wrote, including those with an empty value: their
// questions are not asked. -c - is refused, because a configuration on standard output
// could not name the file with the password.
func initFlags(args []string) (o setup.Options, try bool, err error) {
	o = setup.Options{Ask: stderr, Out: stdout, Today: time.Now().Format(time.DateOnly),
		Given: map[string]bool{}}
	f := flags("init")
	f.StringVar(&o.Path, "c", config.DefaultPath, "the `file` to write")
	f.BoolVar(&o.Force, "force", false, "overwrite the file, and the password beside it")
	f.StringVar(&o.ClientID, "client-id", "", "the `name` of this node, the first word of its topics")
	f.StringVar(&o.Server, "server", "", "the broker's `URL`, or its host alone")
	f.StringVar(&o.Username, "username", "", "the user `name` at the broker")
	f.StringVar(&o.PasswordFile, "password-file", "", "a `file` whose first line is the password")
	f.BoolVar(&o.HomeAssistant, "home-assistant", false, "announce the sensors to Home Assistant")
	f.BoolVar(&try, "doctor", false, "then run holdfast doctor; on a terminal it is offered")
	if err := parse(f, args, 0); err != nil {
		return o, false, err
	}
	// Visit calls the function only for flags that were given.
	f.Visit(func(set *flag.Flag) { o.Given[set.Name] = true })
	if o.Path == "-" {
		return o, false, usageError{errors.New("init writes a file: name it with -c FILE")}
	}
	if o.PasswordFile != "" { // the agent may run in another folder
		o.PasswordFile, err = filepath.Abs(o.PasswordFile)
	}
	// In a script or a pipe no question can be asked: then flags are the only answers.
	if setup.IsTerminal(os.Stdin) {
		o.In = os.Stdin
	}
	return o, try, err
}

// runInit writes the first configuration, and offers to test it. An error that the user can
// fix has exit status 2, every other error 1. If the doctor runs, its exit status is that
// of the command.
func runInit(ctx context.Context, args []string) error {
	o, try, err := initFlags(args)
	if err != nil {
		return err
	}
	hw := drivers.NewHardware() // before any input is read: see NewHardware
	o.Scan = func(ctx context.Context) (string, error) { return scanned(ctx, hw) }
	session := setup.New(o)
	if err := session.Run(ctx); err != nil {
		// Exit status 2 tells a script that its arguments are wrong.
		if errors.Is(err, setup.ErrMistake) {
			return usageError{err}
		}
		return err
	}
	// --doctor=false is an answer too.
	if o.In != nil && !o.Given["doctor"] {
		if try, err = session.Confirm(ctx, "Try it now with holdfast doctor?"); err != nil {
			return err
		}
	}
	// The doctor reads the file again, as the agent will.
	if try {
		return runDoctor(ctx, []string{"-c", o.Path})
	}
	fmt.Fprintf(stdout, "holdfast doctor -c %s tries it for real\n", o.Path)
	return nil
}

// scanned is the section of the file with the sensors of this machine. It is valid even
// with an error: then it has comments about what is missing.
func scanned(ctx context.Context, hw *drivers.Hardware) (string, error) {
	var section strings.Builder
	err := scan.Run(ctx, hw, scan.Options{YAML: true, Out: &section})
	return section.String(), err
}
