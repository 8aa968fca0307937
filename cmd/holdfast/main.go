// updatemaxprocs=0 saves two system calls at each wake-up: without it the runtime asks the
// kernel how many processors there are. A board's number of processors does not change.
//go:debug updatemaxprocs=0

// Holdfast reads sensors on a Raspberry Pi and publishes them over MQTT. While the
// network is down it keeps the readings on disk.
//
// Each command has a file of its own and an entry in [commands]. A command returns an
// error and does not end the process: [report] prints the error and returns the exit
// status, which is 0 for success, 1 if the command failed, and 2 if the user has to
// change something first.
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

// commands are all commands, in the order of the usage text. If a command is graceful,
// SIGINT and SIGTERM end its context. The others have nothing to clean up and may block on
// a terminal or a pipe, so a signal ends the process at once.
var commands = []struct {
	// name is the first argument; summary is its line in the usage text. run gets the
	// arguments after the name, and report turns its error into the exit status.
	name, summary string
	run           func(ctx context.Context, args []string) error
	graceful      bool
}{
	// The agent itself, and what shows it or checks it.
	{"run", "the agent, until it is told to stop; SIGHUP reads the file again", run, true},
	{"demo", "the whole thing without hardware or broker; pulls the network now and then", runDemo, true},
	{"init", "asks a few questions, looks what is wired, and writes a configuration", runInit, true},
	{"check", "reads the configuration and says everything that is wrong with it", check, false},
	{"doctor", "tries everything for real, and says what is broken and how to mend it", runDoctor, true},
	{"scan", "shows what is wired: GPIO lines, I2C parts, the kernel's sensors; --yaml prints stanzas to paste",
		runScan, true},
	// Commands that look at one part of the agent.
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

// main shuts down gracefully at the first SIGINT or SIGTERM, and ends at once at the second.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(command(ctx, os.Args[1:]))
}

// command runs a command line and returns the exit status: 0 for success, 1 if the command
// failed, 2 if the user has to change something. An unknown command and a flag before the
// name of the command are the user's mistakes.
func command(ctx context.Context, args []string) int {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				// The reset comes before the command, which may block on a terminal at once.
				if !c.graceful {
					signal.Reset(os.Interrupt, syscall.SIGTERM)
				}
				return report(c.run(ctx, args[1:]))
			}
		}
	}
	// A missing command is a mistake, so the usage text goes to stderr; help was asked for.
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

// usage prints all commands to w: standard output if the user asked for it, else standard
// error.
func usage(w io.Writer) {
	fmt.Fprintf(w, "Usage: holdfast COMMAND [-c FILE]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nThe configuration is %s unless -c says otherwise; -c - reads standard input.\n",
		config.DefaultPath)
}

// A usageError is an error that the user has to correct: a wrong argument, a wrong
// configuration, or the wrong account that runs the command. The exit status is 2. The
// wrapped error is printed unchanged, so it has to say what to change.
type usageError struct{ error }

// Unwrap is for errors.Is and errors.As: some hints depend on the wrapped error. An
// embedded error promotes its Error method only, so Unwrap has to be written here.
func (m usageError) Unwrap() error { return m.error }

// report prints an error to standard error and returns its exit status. Configuration
// errors are printed unchanged, one on each line, so that an editor can jump to each.
// flag.ErrHelp is a success: the flag set has printed the help that the user asked for.
func report(err error) int {
	var wrong config.Errors
	var user usageError
	var status exitStatus
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	// This case comes first: a command that returns a status has printed its errors itself.
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &wrong):
		fmt.Fprintln(stderr, wrong)
		return 2
	// queue.Open knows nothing about commands and cannot return a usageError.
	case errors.As(err, &user), errors.Is(err, queue.ErrPath):
		fmt.Fprintln(stderr, "holdfast:", err)
		return 2
	}
	fmt.Fprintln(stderr, "holdfast:", err)
	return 1
}

// flags returns the flag set of one command. A mistake does not end the process: see
// parse. The set itself prints mistakes and help to stderr.
func flags(name string) *flag.FlagSet {
	// The usage text begins with this name.
	f := flag.NewFlagSet("holdfast "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	return f
}

// parse parses a command's flags and allows at most maxArgs arguments after them. It
// returns a usageError, or flag.ErrHelp after it has printed the help.
func parse(f *flag.FlagSet, args []string, maxArgs int) error {
	// The flag set has printed the mistake itself, so the error names only the help.
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{fmt.Errorf("see %s -h", f.Name())}
	}
	if f.NArg() > maxArgs {
		hint := ""
		if f.Lookup("c") != nil {
			hint = "; -c FILE names the configuration"
		}
		return usageError{fmt.Errorf("%s takes no argument %q%s", f.Name(), f.Arg(maxArgs), hint)}
	}
	return nil
}

// configFlag adds the flag -c, which every command with a configuration has. It opens no
// file. The path - is for a configuration that another program writes to the pipe.
func configFlag(f *flag.FlagSet) *string {
	return f.String("c", config.DefaultPath, "configuration `file`; - reads standard input")
}

// runDemo runs the agent's own code on simulated sensors. It needs no configuration, and
// the exit status is 1 if a reading was lost.
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
