package store

import (
	"context"
	"database/sql"
	"errors"
)

// Reasons why a number is missing that the agent has not declared lost.
const (
	LostBySession = "session" // the broker had no session for the recorder when it was published
	LostByBroker  = "broker"  // the connection was lost then: the broker may have been killed before it saved
	LostByQueue   = "queue"   // the recorder was not connected, and the broker's queue for it is limited
	LostByDrop    = "dropped" // the broker's own count of dropped messages grew by at least as many then
	Unexplained   = ""
)

// A Verification is the result of Verify for one device, over all streams and boots.
type Verification struct {
	Readings    int64 // with a key, in the table
	Filled      int64 // were missing and arrived later
	Declared    int64 // declared lost by the agent
	Gaps        []Gap // missing readings; Why is one of the constants above
	Unexplained int64 // missing readings whose gap is Unexplained
	// UncleanStarts counts starts after a boot that was not stopped in order: it cannot be
	// proven that the last readings of such a boot arrived.
	UncleanStarts int64
	Drops         []DropPeriod // they explain the gaps that are LostByDrop; ordered by time
}

// Verify checks for every gap of a device whether the loss is explained. A backlog that has
// not arrived yet is unexplained. If there is no such device, the error wraps ErrUnknown.
func (s *Store) Verify(ctx context.Context, device string) (v Verification, err error) {
	id, err := s.deviceID(ctx, device)
	if err != nil {
		return v, err
	}
	// Only readings with a sequence number: payloads of other publishers prove nothing.
	for query, into := range map[string]*int64{
		`SELECT count(*) FROM reading r JOIN stream s ON s.id = r.stream_id
			WHERE s.device_id = ? AND r.seq IS NOT NULL`: &v.Readings,
		`SELECT count(*) FROM event WHERE device_id = ? AND event = 'unclean_start'`: &v.UncleanStarts,
	} {
		if err := s.read.QueryRowContext(ctx, s.sql(query), id).Scan(into); err != nil {
			return v, err
		}
	}
	// Filled gaps are only counted. Declared gaps may have more missing readings than declared.
	gaps, err := s.Gaps(ctx, device)
	if err != nil {
		return v, err
	}
	for _, g := range gaps {
		switch g.State {
		case "filled":
			v.Filled += g.Count
			continue
		case "declared":
			v.Declared += g.Count
			if g, err = s.excess(ctx, g); err != nil {
				return v, err
			}
		default:
			if g.Why, err = s.explain(ctx, g); err != nil {
				return v, err
			}
		}
		if g.Count == 0 {
			continue
		}
		v.Gaps = append(v.Gaps, g)
		if g.Why == Unexplained {
			v.Unexplained += g.Count
		}
	}
	return v, s.explainByDrops(ctx, &v)
}

// explain returns the reason why a gap is missing, by the connections that were made between
// the arrivals of its neighbours. Within a boot the readings of a stream arrive in order, so
// the missing ones would have arrived between these two.
func (s *Store) explain(ctx context.Context, g Gap) (string, error) {
	// The first known boot of a stream has no reading before its first number. Its birth message
	// tells when the boot began, and whether that was before our session.
	if !g.BeforeAt.Valid {
		var before bool
		err := s.read.QueryRowContext(ctx, s.sql(`SELECT b.before_session, b.seen_at FROM boot b
			JOIN device d ON d.id = b.device_id WHERE d.name = ? AND b.boot = ?`), g.Device, g.Boot).
			Scan(&before, &g.BeforeAt)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return Unexplained, nil
		case err != nil:
			return "", err
		case before:
			return LostBySession, nil
		}
	}
	// Both ends are included: a connection and its first message may have the same millisecond.
	var fresh, started, all int64
	err := s.read.QueryRowContext(ctx, s.sql(`SELECT count(CASE WHEN fresh THEN 1 END),
		count(CASE WHEN started THEN 1 END), count(*) FROM connection WHERE at >= ? AND at <= ?`),
		g.BeforeAt.Int64, g.AfterAt.Int64).Scan(&fresh, &started, &all)
	// The strongest reason counts: with a new session the broker had kept nothing for us.
	switch {
	case err != nil:
		return "", err
	case fresh > 0:
		return LostBySession, nil
	case all > started:
		return LostByBroker, nil
	case all > 0:
		return LostByQueue, nil
	}
	return Unexplained, nil
}

// excess returns a gap with the readings that are missing in a declared gap beyond the declared
// number; its Count is 0 if there are none. They are counted only if the sequence has passed
// the range, and if Retain has not deleted readings of that time.
func (s *Store) excess(ctx context.Context, g Gap) (Gap, error) {
	declared := g.Count
	g.Count = 0
	// If the whole range was declared, there is no excess.
	id, err := s.streamID(ctx, g.Device, g.Stream)
	if err != nil || declared == g.To-g.From+1 {
		return g, err
	}
	var last, there, horizon int64
	err = s.read.QueryRowContext(ctx, s.sql(`SELECT
		coalesce((SELECT last_seq FROM sequence WHERE stream_id = ? AND boot = ?), 0),
		(SELECT count(*) FROM reading WHERE stream_id = ? AND boot = ? AND seq >= ? AND seq <= ?),
		coalesce((SELECT value FROM counter WHERE name = 'horizon'), 0)`),
		id, g.Boot, id, g.Boot, g.From, g.To).Scan(&last, &there, &horizon)
	if excess := g.To - g.From + 1 - declared - there; err == nil && excess > 0 && last >= g.To && g.NoticedAt >= horizon {
		g.Count, g.State, g.Why = excess, "missing", Unexplained
	}
	return g, err
}
