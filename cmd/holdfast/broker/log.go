package broker

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	repeatAfter = time.Hour // for the same line of the library
	maxReasons  = 64        // that are counted separately; clients choose some of the words
	maxLogText  = 200       // bytes of one value
)

// once is a handler for the library's log, which writes a line for each failed connection,
// including the whole packet. It logs each reason once an hour with the number of omitted
// repetitions, and omits packets.
type once struct {
	slog.Handler
	*reasons
}

// reasons are shared by all handlers that WithAttrs and WithGroup have created.
type reasons struct {
	mu   sync.Mutex         // guards seen and what it holds
	seen map[string]*reason // by text; at most maxReasons and "others"
}

// A reason is a log line with its time and the number of repetitions that were omitted.
type reason struct {
	at       time.Time // when it was logged last
	repeated int       // how often it was omitted since
}

// newOnce returns a handler that has logged nothing yet.
func newOnce(h slog.Handler) once { return once{h, &reasons{seen: map[string]*reason{}}} }

// WithAttrs and WithGroup keep the same reasons: it is the same log.
func (o once) WithAttrs(a []slog.Attr) slog.Handler { return once{o.Handler.WithAttrs(a), o.reasons} }
func (o once) WithGroup(name string) slog.Handler   { return once{o.Handler.WithGroup(name), o.reasons} }

// Handle logs the record without the packet and with shortened values, unless its reason
// was logged less than an hour ago.
func (o once) Handle(ctx context.Context, r slog.Record) error {
	key, attrs := r.Message, []slog.Attr(nil)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "pk", "packet":
			return true
		case "error", "err":
			key += "\n" + errorKind(a.Value.String())
		}
		attrs = append(attrs, slog.String(a.Key, clip(a.Value.String())))
		return true
	})
	repeated, pass := o.pass(key, r.Time)
	if !pass {
		return nil
	}
	if repeated > 0 {
		attrs = append(attrs, slog.Int("repeated", repeated))
	}
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	out.AddAttrs(attrs...)
	return o.Handler.Handle(ctx, out)
}

// pass reports whether a reason is to be logged, and how often it was omitted before.
func (r *reasons) pass(key string, now time.Time) (repeated int, pass bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[key] == nil && len(r.seen) >= maxReasons {
		key = "others"
	}
	last := r.seen[key]
	switch {
	case last == nil:
		last = &reason{}
		r.seen[key] = last
	case now.Sub(last.at) < repeatAfter:
		last.repeated++
		return 0, false
	}
	repeated, last.repeated, last.at = last.repeated, 0, now
	return repeated, true
}

// differing matches what differs between two connections that end for the same reason.
var differing = regexp.MustCompile(`\[[0-9a-f:.%]+\]|[0-9]+`)

// errorKind is the text of an error without what differs: addresses and numbers.
func errorKind(text string) string { return differing.ReplaceAllString(clip(text), "0") }

// clip shortens a value that a client may have chosen.
func clip(text string) string {
	if len(text) <= maxLogText {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:maxLogText], ""), len(text))
}
