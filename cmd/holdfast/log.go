package main

import (
	"context"
	"io"
	"log/slog"
	"os"
)

// newLog returns a logger that writes text to w; under systemd with the priority that
// journald understands and without the time, which journald adds. It may be used by any
// goroutine: slog's handlers write one line at a time.
func newLog(w io.Writer) *slog.Logger {
	// systemd sets it for a process whose standard error is connected to the journal.
	if os.Getenv("JOURNAL_STREAM") == "" {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(journalHandler(w))
}

// quiet passes only warnings and errors. Commands use it for the parts of the agent that
// they run for a short time.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(atLeast{log.Handler(), slog.LevelWarn}) }

// atLeast passes records of a level and above. It wraps the results of WithAttrs too,
// because a logger with attributes would otherwise log all levels.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled replaces the level of the wrapped handler.
func (h atLeast) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// WithAttrs and WithGroup wrap the results of the wrapped handler.
func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(a), h.level}
}
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}

// journal has a text handler for each priority of sd-daemon(3). The priority precedes the
// text, and slog has one writer for all levels: so each priority has a handler with its own
// writer. All of them write to the same file.
type journal struct{ err, warning, info, debug slog.Handler } // see of

// journalHandler writes lines that start with the priority, such as <4>, without time and
// level: journald stores both as separate fields. <3> to <7> are the levels of syslog(3);
// journald removes them from the text.
func journalHandler(w io.Writer) slog.Handler {
	handler := func(priority string) slog.Handler {
		return slog.NewTextHandler(prefixed{w, priority}, &slog.HandlerOptions{
			Level: slog.LevelInfo,
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				// Only the top level: a group may have a key with that name.
				if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
					return slog.Attr{}
				}
				return a
			},
		})
	}
	// Error, warning, informational and debug, as numbers of syslog(3).
	return journal{handler("<3>"), handler("<4>"), handler("<6>"), handler("<7>")}
}

// of returns the handler of a level: 3 for errors, 4 for warnings, 6 for information, 7 for
// debugging. A level between two of them counts as the lower one.
func (j journal) of(l slog.Level) slog.Handler {
	switch {
	case l >= slog.LevelError:
		return j.err
	case l >= slog.LevelWarn:
		return j.warning
	case l >= slog.LevelInfo:
		return j.info
	}
	return j.debug
}

// Enabled, Handle, WithAttrs and WithGroup implement slog.Handler with the handler of the
// level, or with all four.
func (j journal) Enabled(ctx context.Context, l slog.Level) bool { return j.of(l).Enabled(ctx, l) }

func (j journal) Handle(ctx context.Context, r slog.Record) error {
	return j.of(r.Level).Handle(ctx, r)
}

func (j journal) WithAttrs(a []slog.Attr) slog.Handler {
	return journal{j.err.WithAttrs(a), j.warning.WithAttrs(a), j.info.WithAttrs(a), j.debug.WithAttrs(a)}
}

func (j journal) WithGroup(name string) slog.Handler {
	return journal{j.err.WithGroup(name), j.warning.WithGroup(name), j.info.WithGroup(name), j.debug.WithGroup(name)}
}

// prefixed writes a priority before each line. It needs no lock: the handler that uses it
// holds one.
type prefixed struct {
	w        io.Writer
	priority string // "<4>"
}

// Write gets one whole line per call from slog's text handler. It makes one write of it, so
// that lines of several goroutines do not mix.
func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.priority), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
