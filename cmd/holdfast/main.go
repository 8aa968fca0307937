// Else the runtime asks the kernel at each wake-up how many processors there are, by two
// system calls. A board gets no other ones while it runs.
//go:debug updatemaxprocs=0

// Holdfast reads sensors on a Raspberry Pi and publishes them over MQTT, and keeps
// on disk what a dead network could not take.
//
// Each command has a file of its own and a line in [commands]. A command returns an
// error and does not end the process: [report] prints it and decides about the exit
// status, which is 0 for success, 1 where the command could not do it, and 2 where
// the user has to change something first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/demo"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/queue"
)

// commands in the order of the usage text. SIGINT and SIGTERM end the context of
// one that is orderly; the others have nothing to bring to an end, and may wait
// for a terminal or a pipe: a signal ends them where they are.
var commands = []struct {
	// The first argument, and its line in the usage text. run gets the arguments behind
	// the name, and its error decides about the exit status.
	name, does string
	run        func(ctx context.Context, args []string) error
	orderly    bool
}{
	// The agent itself, and what shows it or checks it.
	{"run", "the agent, until it is told to stop; SIGHUP reads the file again", run, true},
	{"demo", "the whole thing without hardware or broker; pulls the network now and then", runDemo, true},
	{"init", "asks a few questions, looks what is wired, and writes a configuration", runInit, true},
	{"check", "reads the configuration and says everything that is wrong with it", check, false},
	{"doctor", "tries everything for real, and says what is broken and how to mend it", runDoctor, true},
	{"scan", "shows what is wired: GPIO lines, I2C parts, the kernel's sensors; --yaml prints stanzas to paste",
		runScan, true},
	// What looks at one part of it.
	{"read", "reads the sensors once and prints; publishes nothing", read, true},
	{"status", "what the agent that runs knows of itself: streams, link, backlog, losses, events", showStatus, true},
	{"outputs", "what the outputs are; with safe: puts all of them to their safe level, agent or not", runOutputs, true},
	{"rules", "rules test: plays a file of readings through the rules, and prints what would happen", runRules, false},
	{"arming", "arming code: makes a line of the codes file", runArming, false},
	{"ha", "what Home Assistant is told of this node, and how to make it forget", runHA, true},
	{"queue", "looks into what waits on disk, exports it, or gives it up", runQueue, false},
	{"update", "installs a newer version from the apt source, and goes back if it does not deliver", runUpdate, true},
	{"version", "version, commit, Go version", version, false},
}

// main ends at the first SIGINT or SIGTERM in order, and at the second at once.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(command(ctx, os.Args[1:]))
}

// command runs a command line and returns the exit status: 0 well, 1 could not do it, 2
// the user has to change something. An unknown command is the user's mistake, and so is
// a flag before the name of the command.
func command(ctx context.Context, args []string) int {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				// Before the command begins: it may wait for a terminal at once.
				if !c.orderly {
					signal.Reset(os.Interrupt, syscall.SIGTERM)
				}
				return report(c.run(ctx, args[1:]))
			}
		}
	}
	// Without a command the usage text is a mistake's answer, with help it was asked for.
	switch {
	case len(args) == 0:
		usage(os.Stderr)
		return 2
	case args[0] == "help" || args[0] == "-h" || args[0] == "--help" || args[0] == "-help":
		usage(os.Stdout)
		return 0
	case args[0] == "--version" || args[0] == "-version": // as of most programs
		return report(version(ctx, args[1:]))
	}
	fmt.Fprintf(stderr, "holdfast: there is no command %q; see holdfast help\n", args[0])
	return 2
}

// usage prints all commands. It goes to standard output only if it was asked for.
func usage(w io.Writer) {
	fmt.Fprintf(w, "Usage: holdfast COMMAND [-c FILE]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.does)
	}
	fmt.Fprintf(w, "\nThe configuration is %s unless -c says otherwise; -c - reads standard input.\n",
		config.DefaultPath)
}

// A usageError is an error that the user has to correct: an argument, the
// configuration, or the user that runs the command. The exit status is 2. The error
// inside is printed as it is, so it has to say what to change.
type usageError struct{ error }

// Unwrap is for errors.Is and errors.As: what is wrong may decide about the hint. It
// has to be written out: an embedded error passes on Error alone.
func (m usageError) Unwrap() error { return m.error }

// report prints an error to standard error and returns the exit status that it stands
// for. Errors of the configuration are printed as they are, one on each line, for an
// editor to jump to. Help that was asked for is a success, and was printed by the flag
// set.
func report(err error) int {
	var wrong config.Errors
	var user usageError
	var status exitStatus
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	// Before the others: such a command has printed what is wrong.
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &wrong):
		fmt.Fprintln(stderr, wrong)
		return 2
	// Open of the queue knows nothing of commands: its error is the user's, too.
	case errors.As(err, &user), errors.Is(err, queue.ErrPath):
		fmt.Fprintln(stderr, "holdfast:", err)
		return 2
	}
	fmt.Fprintln(stderr, "holdfast:", err)
	return 1
}

// flags are the flags of one command. They do not end the process: see parse. Mistakes
// and help are printed to stderr by the set itself.
func flags(name string) *flag.FlagSet {
	// The name is what the usage text begins with.
	f := flag.NewFlagSet("holdfast "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	return f
}

// parse parses a command's flags, and at most maxArgs arguments after them. Its
// errors are usage errors, or flag.ErrHelp when help was asked for and printed.
func parse(f *flag.FlagSet, args []string, maxArgs int) error {
	// The flag set has printed what is wrong, to the same stderr.
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{fmt.Errorf("see %s -h", f.Name())}
	}
	if f.NArg() > maxArgs {
		return usageError{fmt.Errorf("%s takes no argument %q", f.Name(), f.Arg(maxArgs))}
	}
	return nil
}

// configFlag is the flag that every command with a configuration has. The file is not
// opened before the flags are parsed; - is for a configuration that another program
// makes.
func configFlag(f *flag.FlagSet) *string {
	return f.String("c", config.DefaultPath, "configuration `file`; - reads standard input")
}

// runDemo shows the agent on simulated sensors, with the real code of the agent. It
// needs no configuration, and ends with status 1 if a reading was lost.
func runDemo(ctx context.Context, args []string) error {
	f := flags("demo")
	length := f.Duration("for", 0, "end after this `time`; 0: at Ctrl-C")
	verbose := f.Bool("v", false, "show the agent's log as well")
	browse := f.Bool("open", false, "open the status page in a browser")
	record := f.Bool("recorder", false, "keep the history with holdfast-recorder, beside this program or in $PATH")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	return demo.Run(ctx, demo.Options{For: *length, Verbose: *verbose, Browse: *browse, Record: *record,
		Out: stdout, Serve: serveOnce})
}
