package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/cmd/printable"
	"github.com/holdfast-iot/holdfast/config"
)

// An answer takes some of the agent's CPU time, and a person does not need it more often.
const watchEvery = time.Second // between two queries with -watch

// showStatus prints the status of the running agent.
//
// It asks through the control socket, which is for the user of the agent and for root. The
// parts of the text are made printable one by one, because colours are escape sequences
// too.
func showStatus(ctx context.Context, args []string) error {
	f := flags("status")
	path := configFlag(f)
	asJSON := f.Bool("json", false, "print JSON, one object on a line")
	watch := f.Bool("watch", false, "print it every second, until Ctrl-C")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	cfg, err := config.Load(ctx, *path)
	if err != nil {
		return err
	}
	// Many programs follow NO_COLOR; a dumb terminal would print the escapes.
	colours := isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	show := func() error {
		s, err := control.AskStatus(cfg.Queue.Path)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return json.NewEncoder(stdout).Encode(s)
		}
		_, err = io.WriteString(os.Stdout, statusText(s, colours)) // each part of it is printable
		return err
	}
	if !*watch {
		return explainNotRunning(show(), cfg.Queue.Path)
	}
	return watchStatus(ctx, show, isTerminal(os.Stdout) && !*asJSON)
}

// watchStatus prints the status every second until ctx is done. It waits for an agent that
// does not run. clear erases the terminal before each page. Ctrl-C is the normal end, and
// no error.
func watchStatus(ctx context.Context, show func() error, clear bool) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if clear {
			io.WriteString(os.Stdout, "\x1b[H\x1b[2J") // to the top, and erase all
		}
		switch err := show(); {
		// It may be starting again: the next query may succeed.
		case errors.Is(err, control.ErrNotRunning):
			fmt.Fprintln(stderr, "holdfast:", err)
		case err != nil:
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// explainNotRunning adds the place of the socket and the remedy to an error. nil stays nil,
// and other errors are returned unchanged.
func explainNotRunning(err error, queue string) error {
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w: nobody listens beside %s; start it with holdfast run, or as a service", err, queue)
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: ask as the user that the agent runs as, or as root", err)
	}
	return err
}

// isTerminal reports whether a file is a terminal, and not a file or a pipe. It is also
// true for other character devices, such as /dev/null, where escapes do no harm.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printableText makes a text printable, on one line. It is for text between colours; all
// other output goes through the writer stdout.
func printableText(s string) string {
	var out []byte
	for _, r := range oneLine(s) {
		out = printable.Append(out, r, []byte(string(r)))
	}
	return string(out)
}

// worst returns the heading of a snapshot: a text, and whether all is well. The order is
// that of urgency: an alarm, then the disk, because readings are lost, then the link, then
// single outputs and sensors, then other problems.
func worst(s status.Snapshot) (word string, good bool) {
	measured, failing, unknown := s.Sensors(), 0, 0
	// A sensor with several quantities counts once for each of its streams.
	for _, st := range measured {
		if st.Error != "" {
			failing++
		}
	}
	for _, o := range s.Outputs {
		if o.State == status.Unknown {
			unknown++
		}
	}
	switch {
	case s.Arming != nil && s.Arming.State == "triggered":
		return "the alarm is triggered", false
	case s.Queue.Failing:
		return "the disk fails", false
	case !s.Link.Connected:
		return "not connected", false
	case s.Link.Held != "":
		return "the backlog is held", false
	case unknown > 0:
		return fmt.Sprintf("the state of %d of %d outputs is unknown", unknown, len(s.Outputs)), false
	case failing > 0:
		return fmt.Sprintf("%d of %d streams cannot be read", failing, len(measured)), false
	case len(s.Problems) == 1:
		return "one problem", false
	case len(s.Problems) > 1:
		return fmt.Sprintf("%d problems", len(s.Problems)), false
	}
	return "all is well", true
}
