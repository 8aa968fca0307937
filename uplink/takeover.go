package uplink

import "fmt"

// A rival is another client with our client ID. When it connects, the broker ends our
// connection, which with MQTT 3.1.1 looks like any other loss. The proof is its birth on our
// topic agent/info: in two sessions we find a birth of another boot in place of ours,
// although the broker was always reachable. Once is not enough, because a broker may have
// been restored from an old state.
type rival struct {
	born   bool   // the broker has had our birth
	boot   string // the boot in the other birth
	seen   int    // in how many sessions it was found
	proven bool
}

// A RivalError means that a connection was lost because another client uses our client ID.
// It wraps nothing; it is joined with the error of the connection.
type RivalError struct{ ClientID string }

func (e *RivalError) Error() string {
	return fmt.Sprintf("another client uses %q: give each a client_id of its own", e.ClientID)
}

// forget discards what was found, because the broker was not reachable.
func (r *rival) forget() { r.boot, r.seen = "", 0 }

// foundRival handles the birth that was retained on our topic when the session began: ours
// or that of a rival. A birth that comes later proves nothing: a rival would have ended our
// session before it could publish.
func (a *announcer) foundRival(boot string) {
	r := &a.link.announced.rival
	switch {
	case boot == a.link.opt.Boot: // no other client was connected in the meantime
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
