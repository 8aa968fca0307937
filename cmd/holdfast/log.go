package main

import (
	"context"
	"io"
	"log/slog"
	"os"
)

// newLog logs to w: as text, and under systemd with the priority that journald
// understands and without the time, which it adds itself. Any goroutine may use it:
// slog's handlers write one line at a time.
func newLog(w io.Writer) *slog.Logger {
	// systemd sets it for a process whose standard error goes to the journal.
	if os.Getenv("JOURNAL_STREAM") == "" {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(journalHandler(w))
}

// quiet passes warnings and errors only. The commands use it for the parts of the agent
// that they run for a moment.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(atLeast{log.Handler(), slog.LevelWarn}) }

// atLeast passes records of a level and above. It must wrap what WithAttrs returns,
// too, or a logger with attributes would be without it.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled replaces the level of the handler inside.
func (h atLeast) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// WithAttrs and WithGroup keep the bound around what the handler inside returns.
func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(a), h.level}
}
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}

// journal is a text handler for each priority of sd-daemon(3). slog has one writer for
// all levels, and the priority stands before the text: so each has a handler with a
// writer of its own. All of them write to the same file in the end.
type journal struct{ err, warning, info, debug slog.Handler } // see of

// journalHandler writes lines that begin with the priority, as <4>, and have neither
// time nor level: journald keeps both as fields of its own. <3> to <7> are the levels
// of syslog(3); journald cuts them off.
func journalHandler(w io.Writer) slog.Handler {
	handler := func(priority string) slog.Handler {
		return slog.NewTextHandler(prefixed{w, priority}, &slog.HandlerOptions{
			Level: slog.LevelInfo,
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				// The top level alone: a group may have a key of that name.
				if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
					return slog.Attr{}
				}
				return a
			},
		})
	}
	// Error, warning, information and debugging, in the numbers of syslog(3).
	return journal{handler("<3>"), handler("<4>"), handler("<6>"), handler("<7>")}
}

// of is the handler of a level: 3 for errors, 4 for warnings, 6 for what is normal, 7
// for debugging. Levels between two of them count as the lower one.
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

// Enabled, Handle, WithAttrs and WithGroup are those of slog.Handler, passed on to
// the handler of the level, or to all four.
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

// prefixed writes each line behind a priority. It is without a lock: the handler that
// writes to it holds one.
type prefixed struct {
	w        io.Writer
	priority string // "<4>"
}

// Write gets a whole line with each call: slog's text handler writes so. It does it
// in one write, so that lines of several goroutines do not mix.
func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.priority), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
