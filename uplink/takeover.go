package uplink

import "fmt"

// A rival is another client with our client ID. The broker ends our connection
// for its sake, which looks like any other loss. Only its birth on our own
// agent/info is proof: we told the broker of ours, and find another there when
// we are back, twice, with the broker there all the time. Once alone may be a
// broker that was restored from an old state.
type rival struct {
	born   bool   // the broker had our birth once
	boot   string // of another's birth
	seen   int    // sessions that found it
	proven bool
}

// A RivalError says that a connection was lost because another client uses our
// client ID. It wraps nothing: the reason of the loss is joined to it.
type RivalError struct{ ClientID string }

func (e *RivalError) Error() string {
	return fmt.Sprintf("another client uses %q: give each a client_id of its own", e.ClientID)
}

// forget drops what is no proof any more: the broker was away.
func (r *rival) forget() { r.boot, r.seen = "", 0 }

// foundRival takes what was retained on our own topic when the session began: our
// birth, or another's. What comes later proves nothing: a client with our client
// ID would have ended the session before it said anything.
func (a *announcer) foundRival(boot string) {
	r := &a.link.announced.rival
	switch {
	case boot == a.link.opt.Boot: // nobody was here in the meantime
		*r = rival{born: r.born}
		return
	case a.rivalSeen == boot: // seen in this session already
		return
	case boot != r.boot:
		r.boot, r.seen = boot, 0
	}
	a.rivalSeen = boot
	if r.seen++; r.proven || r.seen < 2 {
		return
	}
	r.proven = true
	err := &RivalError{a.link.opt.ClientID}
	a.link.log.Error(err.Error(), "its_boot", boot)
	a.link.report("take_over", map[string]any{"client_id": a.link.opt.ClientID, "other": boot})
}
