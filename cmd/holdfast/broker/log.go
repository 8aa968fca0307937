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
	repeatAfter = time.Hour // the same line of the library's
	maxReasons  = 64        // that are seen apart; clients choose some of the words
	maxLogText  = 200       // bytes of one value
)

// once is a handler for the library's log, which has a line for each connection
// that comes to nothing, with the whole packet in it. It passes each reason
// once an hour, says how often it was there before, and leaves packets out.
type once struct {
	slog.Handler
	*reasons
}

// reasons are shared by all handlers that WithAttrs and WithGroup have made.
type reasons struct {
	mu   sync.Mutex         // guards seen and what it holds
	seen map[string]*reason // by its text; at most maxReasons and "others"
}

// A reason is what was logged, when, and how often it was held back since.
type reason struct {
	at       time.Time // when it was passed last
	repeated int       // how often it was held back since
}

// newOnce is a handler that has passed nothing yet.
func newOnce(h slog.Handler) once { return once{h, &reasons{seen: map[string]*reason{}}} }

// WithAttrs and WithGroup share the reasons: they are one log.
func (o once) WithAttrs(a []slog.Attr) slog.Handler { return once{o.Handler.WithAttrs(a), o.reasons} }
func (o once) WithGroup(name string) slog.Handler   { return once{o.Handler.WithGroup(name), o.reasons} }

// Handle passes the record without the packet, and with its texts cut, unless its
// reason was passed less than an hour ago.
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

// pass reports whether a reason is to be logged, and how often it was not.
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

// differing is what differs between two connections that end for one reason.
var differing = regexp.MustCompile(`\[[0-9a-f:.%]+\]|[0-9]+`)

// errorKind is an error without what differs: addresses and numbers.
func errorKind(text string) string { return differing.ReplaceAllString(clip(text), "0") }

// clip bounds a value that a client may have chosen.
func clip(text string) string {
	if len(text) <= maxLogText {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:maxLogText], ""), len(text))
}
