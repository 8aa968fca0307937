// Holdfast-recorder stores what agents publish in SQLite or PostgreSQL, and reports which
// readings are missing. DESIGN.md in this folder describes how.
//
// Each command has an entry in [commands]. A command returns an error and does not end the
// process: [report] prints the error and returns the exit status, which is 0 for success, 1
// if the command failed, and 2 if the user has to change something first.
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

	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/config"
)

// commands are all commands, in the order of the usage text. name is the first argument, and
// summary is its line in the usage text.
var commands = []struct {
	name, summary string
	run           func(ctx context.Context, args []string) error
}{
	{"run", "records, until it is told to stop", run},
	{"check", "reads the configuration and says everything that is wrong with it", check},
	{"devices", "lists the devices; devices add NAME... registers some", devices},
	{"gaps", "lists what is missing, was filled later, or was declared lost; of one DEVICE or all", gaps},
	{"verify", "says whether every hole of a DEVICE is explained; if not, the exit status is 1", verify},
	{"export", "prints readings as CSV or JSON Lines", export},
	{"retain", "deletes old readings, and keeps their hours and days", retain},
	{"backup", "copies the database into a new FILE, while it is written to", backup},
	{"import-ha", "writes hours of late readings into the statistics of Home Assistant", importHA},
	{"version", "version, commit, Go version", version},
}

// main shuts down gracefully at the first SIGINT, SIGTERM or SIGHUP, and ends at once at the
// second. A terminal that is closed sends SIGHUP.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	os.Exit(command(ctx, os.Args[1:]))
}

// command runs a command line and returns the exit status.
func command(ctx context.Context, args []string) int {
	// A missing command is a mistake, so the usage text goes to stderr.
	if len(args) == 0 {
		usage(stderr)
		return 2
	}
	for _, c := range commands {
		if c.name == args[0] {
			return report(c.run(ctx, args[1:]))
		}
	}
	// Help that was asked for is a success, and goes to standard output.
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(stdout)
		return 0
	case "--version", "-version": // as of most programs
		return report(version(ctx, args[1:]))
	}
	fmt.Fprintf(stderr, "holdfast-recorder: there is no command %q; see holdfast-recorder help\n", args[0])
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "Usage: holdfast-recorder COMMAND [-c FILE]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nThe configuration is %s unless -c says otherwise; -c - reads standard input.\n",
		config.DefaultRecorderPath)
}

// A usageError is an error that the user has to correct, such as a wrong argument. It is
// printed unchanged, so it has to say what to change. The exit status is 2.
type usageError struct{ error }

// errPrinted is the error of a command that has printed its errors itself. The exit status
// is 1.
var errPrinted = errors.New("")

// report prints an error and returns its exit status.
func report(err error) int {
	var wrong config.Errors
	var user usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	// This case comes before the others: the command has printed its errors itself.
	case errors.Is(err, errPrinted):
		return 1
	case errors.As(err, &wrong):
		fmt.Fprintln(stderr, wrong)
		return 2
	case errors.As(err, &user), errors.Is(err, store.ErrUnknown):
		fmt.Fprintln(stderr, "holdfast-recorder:", err)
		return 2
	}
	fmt.Fprintln(stderr, "holdfast-recorder:", err)
	return 1
}

// A line is the command line of one command.
type line struct {
	*flag.FlagSet
	config *string
}

// flags returns the flag set of a command, with the flag -c for the configuration.
func flags(name string) line {
	// The set prints mistakes and help itself; parse turns them into errors.
	f := flag.NewFlagSet("holdfast-recorder "+name, flag.ContinueOnError)
	return line{f, f.String("c", config.DefaultRecorderPath, "configuration `file`; - reads standard input")}
}

// parse parses the flags and returns the arguments, of which there must be minArgs to
// maxArgs; a negative maxArgs means any number. Flags may also follow the arguments. The
// error is a usageError, or flag.ErrHelp after the help was printed.
func (l line) parse(args []string, minArgs, maxArgs int) (rest []string, err error) {
	// The flag package stops at the first argument. The loop parses what follows, because
	// people type "verify porch -c FILE".
	for {
		if err := l.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{fmt.Errorf("see %s -h", l.Name())}
		}
		if l.NArg() == 0 {
			break
		}
		rest, args = append(rest, l.Arg(0)), l.Args()[1:]
	}
	switch {
	case maxArgs >= 0 && len(rest) > maxArgs:
		return nil, usageError{fmt.Errorf("%s takes no argument %q; -c FILE names the configuration", l.Name(),
			rest[maxArgs])}
	case len(rest) < minArgs:
		return nil, usageError{fmt.Errorf("%s needs an argument: see holdfast-recorder help", l.Name())}
	}
	return rest, nil
}

// load reads the configuration, and prints its warnings to standard error. Mistakes are a
// [config.Errors], which report prints one on each line.
func (l line) load(ctx context.Context) (config.Recorder, error) {
	cfg, err := config.LoadRecorder(ctx, *l.config)
	for _, w := range cfg.Warnings {
		fmt.Fprintln(stderr, w)
	}
	return cfg, err
}

// open opens the database of the configuration, which has to exist. The caller has to close
// it. The recorder may run at the same time.
func (l line) open(ctx context.Context) (*store.Store, error) {
	cfg, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	// Not store.Open: a command must not create an empty database at a mistyped path.
	return store.OpenExisting(ctx, storeOptions(cfg))
}

func storeOptions(cfg config.Recorder) store.Options {
	return store.Options{Database: cfg.Database, Unknown: cfg.Unknown, MaxQuarantine: cfg.MaxQuarantine}
}

// check reads the configuration and reports all mistakes in it. It opens neither the
// database nor a connection, so it works on any machine.
func check(ctx context.Context, args []string) error {
	l := flags("check")
	if _, err := l.parse(args, 0, 0); err != nil {
		return err
	}
	cfg, err := l.load(ctx)
	if err == nil {
		fmt.Fprintf(stdout, "%s: ok, %s records to %s\n", *l.config, cfg.Broker.ClientID, cfg.Database)
	}
	return err
}
