package store

import (
	"context"
	"database/sql"
	"errors"
)

// Why a number is missing that the agent has not declared lost.
const (
	LostBySession = "session" // the broker had no session for the recorder when it was published
	LostByBroker  = "broker"  // the connection was lost meanwhile: the broker may have been killed before it saved
	LostByQueue   = "queue"   // the recorder was away, and the broker keeps a limited queue for it
	LostByDrop    = "dropped" // the broker's own count of dropped messages grew by as many meanwhile
	Unexplained   = ""
)

// A Verification is what is known of one device's history. All but the gaps are numbers of
// readings, over all streams and boots.
type Verification struct {
	Readings    int64 // with a key, in the table
	Filled      int64 // missing once, and arrived
	Declared    int64 // declared lost by the agent
	Gaps        []Gap // what is missing, with Why as one of the constants above; Unexplained has none
	Unexplained int64 // numbers
	// UncleanStarts are starts after which the agent said that it had not been stopped:
	// the end of the boot before each cannot be proven.
	UncleanStarts int64
	Drops         []DropPeriod // which explain the gaps that are LostByDrop, in order
}

// Verify looks at every hole of a device and says whether it is explained. Holes of a
// backlog that is still on its way are unexplained until it has come. The error is
// ErrUnknown if there is no such device.
func (s *Store) Verify(ctx context.Context, device string) (v Verification, err error) {
	id, err := s.deviceID(ctx, device)
	if err != nil {
		return v, err
	}
	// Plain payloads of other publishers have no numbers, so nothing is proven by them.
	for query, into := range map[string]*int64{
		`SELECT count(*) FROM reading r JOIN stream s ON s.id = r.stream_id
			WHERE s.device_id = ? AND r.seq IS NOT NULL`: &v.Readings,
		`SELECT count(*) FROM event WHERE device_id = ? AND event = 'unclean_start'`: &v.UncleanStarts,
	} {
		if err := s.read.QueryRowContext(ctx, s.sql(query), id).Scan(into); err != nil {
			return v, err
		}
	}
	// Filled gaps are only counted; of declared ones, what goes beyond the declaration.
	gaps, err := s.Gaps(ctx, device)
	if err != nil {
		return v, err
	}
	for _, g := range gaps {
		// Each state counts for itself: what was filled is no loss.
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

// explain says which limit of the broker explains a missing span: a connection that
// was made between the arrivals of its neighbours. Within a boot a stream arrives in
// order, so what is missing would have come between these two.
func (s *Store) explain(ctx context.Context, g Gap) (string, error) {
	// The first boot that we know of a stream has no neighbour before its first number. Its
	// birth tells when it began, and whether that was before our session.
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
	// Both ends belong to it: a connection and the first message may share a millisecond.
	var fresh, started, all int64
	err := s.read.QueryRowContext(ctx, s.sql(`SELECT count(CASE WHEN fresh THEN 1 END),
		count(CASE WHEN started THEN 1 END), count(*) FROM connection WHERE at >= ? AND at <= ?`),
		g.BeforeAt.Int64, g.AfterAt.Int64).Scan(&fresh, &started, &all)
	// The strongest explanation counts: a new session means that nothing was kept for us.
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

// excess is what is missing of a declared gap beyond the number that was declared. It
// is counted where the sequence has passed the range, and where retain has deleted
// nothing yet.
func (s *Store) excess(ctx context.Context, g Gap) (Gap, error) {
	declared := g.Count
	g.Count = 0
	// Where all of a span was declared, there can be no more.
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
