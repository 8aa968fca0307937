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
	"github.com/holdfast-iot/holdfast/config"
)

const watchEvery = time.Second // between two answers with -watch

// showStatus prints what the agent that runs knows of itself.
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

// watchStatus shows the status every second until ctx is done. An agent that is
// away may come back.
func watchStatus(ctx context.Context, show func() error, clear bool) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if clear {
			io.WriteString(os.Stdout, "\x1b[H\x1b[2J") // to the top, and erase all
		}
		switch err := show(); {
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

// explainNotRunning says where the agent was looked for, and what to do.
func explainNotRunning(err error, queue string) error {
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w: nobody listens beside %s; start it with holdfast run, or as a service", err, queue)
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: ask as the user that the agent runs as, or as root", err)
	}
	return err
}

// isTerminal reports whether a file is a terminal, and not a file or a pipe.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printableText is text as [printable] lets it through, on one line.
func printableText(s string) string {
	var out []byte
	for _, r := range oneLine(s) {
		out = appendPrintable(out, r, []byte(string(r)))
	}
	return string(out)
}

// worst says how a snapshot is to be headed: a word, and whether it is good.
func worst(s status.Snapshot) (word string, good bool) {
	failing := 0
	for _, st := range s.Streams {
		if st.Error != "" {
			failing++
		}
	}
	switch {
	case s.Queue.Failing:
		return "the disk fails", false
	case !s.Link.Connected:
		return "not connected", false
	case s.Link.Held != "":
		return "the backlog is held", false
	case failing > 0:
		return fmt.Sprintf("%d of %d streams cannot be read", failing, len(s.Streams)), false
	}
	return "all is well", true
}
