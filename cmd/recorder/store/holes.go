package store

import (
	"cmp"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
)

// settled is how long a hole may be open without a trace: shorter ones are messages
// that overtook each other, as those of several recorders do.
const reorderWindow = 60_000 // milliseconds

// A sequenceKey is one boot of a stream: within it, numbers begin at 1 and have no
// holes.
type sequenceKey struct {
	stream int64
	boot   string
}

// A sequence is what is known of the numbers of one boot. It lives for one commit. Each
// number up to last is stored, or in a hole, or in a declared span; a number in the
// last may be stored nevertheless.
type sequence struct {
	sequenceKey
	device     int64 // set before arrived is called
	last       int64 // the highest number that arrived; 0: none
	lastAt     int64 // when it arrived
	changed    bool  // last and lastAt are to be saved
	gapsLoaded bool  // holes and declared are those of the database
	holes      []hole
	declared   []span // what the agent has declared lost
	filled     []span // what was missing for longer than settled, in the order of arrival
}

// A span is the numbers from and to, and all between. It has at least one.
type span struct{ from, to int64 }

// A hole is a span of missing numbers. Those of a sequence do not overlap, and all are
// below its highest number.
type hole struct {
	span
	id              int64 // in the table gap; 0: not yet there
	noticed         int64
	beforeAt        sql.NullInt64
	afterAt         int64
	changed, closed bool
}

// preload reads the sequences of a batch at once, as far as their streams are known.
// In PostgreSQL it locks them, in one order for all recorders.
func (c *commit) preload(batch []Item) error {
	// A batch has many readings of few streams.
	found := map[sequenceKey]bool{}
	for i := range batch {
		r, ok := batch[i].Message.(message.Reading)
		if !ok || r.Boot == "" {
			continue
		}
		// Without a query: a name that is not cached is looked up when its turn comes.
		device, ok := c.s.devices[r.Device]
		id, known := c.s.streams[streamKey{device, r.Stream}]
		if ok && known {
			found[sequenceKey{id, r.Boot}] = true
		}
	}
	keys := slices.SortedFunc(maps.Keys(found), func(a, b sequenceKey) int {
		return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.boot, b.boot))
	})
	for some := range slices.Chunk(keys, maxRows) {
		if err := c.preloadSome(some); err != nil {
			return err
		}
	}
	return nil
}

// preloadSome reads a few sequences with one query.
func (c *commit) preloadSome(keys []sequenceKey) error {
	var args []any
	for _, k := range keys {
		args = append(args, k.stream, k.boot)
	}
	if c.lockRows != "" {
		err := c.execRows("INSERT INTO sequence (stream_id, boot, last_seq, last_at) VALUES ", "(?, ?, 0, 0)",
			" ON CONFLICT DO NOTHING", args)
		if err != nil {
			return err
		}
	}
	// PostgreSQL has to be told the types of parameters in VALUES.
	row := "(CAST(? AS BIGINT), CAST(? AS TEXT))"
	err := eachRow(c.ctx, c.Tx, func(rows *sql.Rows) error {
		q := &sequence{}
		err := rows.Scan(&q.stream, &q.boot, &q.last, &q.lastAt)
		c.sequences[q.sequenceKey] = q
		return err
	}, c.sql("SELECT stream_id, boot, last_seq, last_at FROM sequence WHERE (stream_id, boot) IN (VALUES "+
		row+strings.Repeat(", "+row, len(keys)-1)+") ORDER BY stream_id, boot"+c.lockRows), args...)
	for _, k := range keys {
		if c.sequences[k] == nil { // SQLite: a boot that is new has no gaps
			c.sequences[k] = &sequence{sequenceKey: k, gapsLoaded: true}
		}
	}
	return err
}

// sequence returns what is known of a boot, and locks it in PostgreSQL.
func (c *commit) sequence(stream int64, boot string) (*sequence, error) {
	key := sequenceKey{stream, boot}
	// Usually preload has read it. What comes here is a stream that was new a moment ago.
	if q := c.sequences[key]; q != nil {
		return q, nil
	}
	if c.lockRows != "" {
		// There has to be a row to lock: two recorders may see a new boot at the same time.
		_, err := c.exec("INSERT INTO sequence (stream_id, boot, last_seq, last_at) VALUES (?, ?, 0, 0) "+
			"ON CONFLICT DO NOTHING", stream, boot)
		if err != nil {
			return nil, err
		}
	}
	// In SQLite the transaction has the whole file, so there is nothing to lock.
	q := &sequence{sequenceKey: key}
	err := c.scan("SELECT last_seq, last_at FROM sequence WHERE stream_id = ? AND boot = ?"+c.lockRows,
		[]any{stream, boot}, &q.last, &q.lastAt)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	q.gapsLoaded = q.last == 0 && err != nil // a boot that is new has no gaps
	c.sequences[key] = q
	return q, nil
}

// load reads the gaps of a boot, once. Most batches need none: all numbers follow each
// other.
func (c *commit) loadGaps(q *sequence) error {
	if q.gapsLoaded {
		return nil
	}
	// What was filled is history: nothing is decided by it.
	q.gapsLoaded = true
	return eachRow(c.ctx, c.Tx, func(rows *sql.Rows) error {
		// One query for both: holes are to be filled, declared spans to be left out.
		var h hole
		var state string
		err := rows.Scan(&h.id, &h.from, &h.to, &state, &h.noticed, &h.beforeAt, &h.afterAt)
		if state == "missing" {
			q.holes = append(q.holes, h)
		} else {
			q.declared = append(q.declared, h.span)
		}
		return err
	}, c.sql("SELECT id, from_seq, to_seq, state, noticed_at, before_at, coalesce(after_at, 0) FROM gap "+
		"WHERE stream_id = ? AND boot = ? AND state <> 'filled' ORDER BY from_seq"), q.stream, q.boot)
}

// arrived notes a number that came at a time, and reports whether it surely is the first
// copy. Where it is not sure, the table reading has to be asked.
func (c *commit) arrived(q *sequence, seq, at int64) (isNew bool, err error) {
	// The usual case: the next number. It needs no look at the gaps.
	if seq > q.last {
		if seq > q.last+1 {
			if err := c.openHoles(q, span{q.last + 1, seq - 1}, at); err != nil {
				return false, err
			}
		}
		// Whatever was skipped is a hole now, so the sequence goes on from here.
		q.last, q.lastAt, q.changed = seq, at, true
		return true, nil
	}
	// Late: it fills a hole, or is a second copy, or was declared lost.
	if err := c.loadGaps(q); err != nil {
		return false, err
	}
	return q.fill(seq, at), nil
}

// notice opens holes for numbers that did not arrive before the next one, but for
// those that the agent has declared lost.
func (c *commit) openHoles(q *sequence, missing span, at int64) error {
	if err := c.loadGaps(q); err != nil {
		return err
	}
	// When its lower neighbour arrived: what happened to the connection since explains it.
	before := sql.NullInt64{Int64: c.s.session.possibleLossSince(q, at), Valid: q.last > 0}
	if !before.Valid {
		// A boot begins after everything that an earlier one has sent.
		err := c.scan("SELECT max(last_at) FROM sequence WHERE stream_id = ? AND boot <> ? AND last_seq > 0",
			[]any{q.stream, q.boot}, &before)
		if err != nil {
			return err
		}
	}
	// The events of gaps go before the backlog, so what they declare may be known by now.
	for _, rest := range subtract(missing, q.declared) {
		q.holes = append(q.holes, hole{span: rest, noticed: at, beforeAt: before, afterAt: at, changed: true})
	}
	return nil
}

// doubtSince returns the earliest time at which the numbers may have been lost that are
// missing between the highest of a sequence and one that arrived at the given time. Usually
// this is when the highest one arrived. It is the begin of our connection if a broker that
// was killed may have lost them: the highest number came from the broker's queue, and since
// then the queue has ended, or the device has connected again, however late. Otherwise both
// came through a broker that was alive in between, and it loses nothing.
func (s *session) possibleLossSince(q *sequence, at int64) int64 {
	fromQueue := q.lastAt >= s.at && q.lastAt <= s.queueEnd
	// A batch that is stored again may have noted an "online" that comes behind it.
	online := s.online[q.device]
	again := online >= q.lastAt && online <= at
	if fromQueue && (again || s.queueEndKnown && at >= s.queueEnd) {
		return s.at
	}
	return q.lastAt
}

// without returns what is left of a span, in order.
func subtract(s span, minus []span) []span {
	// Each span may cut each piece into two.
	left := []span{s}
	for _, m := range minus {
		var next []span
		for _, l := range left {
			if m.to < l.from || m.from > l.to {
				next = append(next, l)
				continue
			}
			if l.from < m.from {
				next = append(next, span{l.from, m.from - 1})
			}
			if m.to < l.to {
				next = append(next, span{m.to + 1, l.to})
			}
		}
		left = next
	}
	return left
}

// fill takes a number out of the hole that it is in, and reports whether there was
// one. at is when it came. A hole that was open for long leaves a trace.
func (q *sequence) fill(seq, at int64) bool {
	for i := range q.holes {
		h := &q.holes[i] // they do not overlap: the first that matches is the one
		if h.closed || seq < h.from || seq > h.to {
			continue
		}
		// Messages that overtook each other are no news; a backlog that comes back is.
		if at-h.noticed >= reorderWindow {
			q.addFilled(seq)
		}
		q.removeFromHole(i, span{seq, seq})
		return true
	}
	return false
}

// addFilled adds a number to what was filled, which mostly comes in order.
func (q *sequence) addFilled(seq int64) {
	// They are joined here, so that a batch of a backlog is one statement.
	if n := len(q.filled); n > 0 && q.filled[n-1].to == seq-1 {
		q.filled[n-1].to = seq
		return
	}
	q.filled = append(q.filled, span{seq, seq})
}

// cut takes a span out of a hole: it becomes smaller, two, or none. The slice of holes
// may move: pointers into it are not valid afterwards.
func (q *sequence) removeFromHole(i int, out span) {
	// The row keeps the lower part; the upper one becomes a row with the same neighbours.
	left := subtract(q.holes[i].span, []span{out})
	h := q.holes[i]
	// The row is deleted when the sequence is saved.
	if len(left) == 0 {
		q.holes[i].closed = true
		return
	}
	q.holes[i].span, q.holes[i].changed = left[0], true
	if len(left) > 1 {
		h.span, h.id, h.changed = left[1], 0, true
		q.holes = append(q.holes, h)
	}
}

// declare notes a loss that the agent has declared. It may come before the numbers that
// it is about are missed, or after.
func (c *commit) declare(q *sequence, g message.Gap, at int64) error {
	if err := c.loadGaps(q); err != nil {
		return err
	}
	// The whole span counts as declared, also where Count is less: which of them were
	// thinned out the agent does not say. Verify compares the numbers.
	lost := span{g.From, g.To}
	q.declared = append(q.declared, lost)
	q.changed = true              // a sequence that is not in the table has no gaps
	for i := range len(q.holes) { // cut may append pieces, which are outside of what is lost
		if h := q.holes[i]; !h.closed && h.from <= lost.to && lost.from <= h.to {
			q.removeFromHole(i, lost)
		}
	}
	_, err := c.exec("INSERT INTO gap (stream_id, boot, from_seq, to_seq, count, state, why, noticed_at, changed_at) "+
		"VALUES (?, ?, ?, ?, ?, 'declared', ?, ?, ?)",
		q.stream, q.boot, g.From, g.To, g.Count, nullText(g.Why), at, at)
	return err
}

// saveSequences writes what has changed in the sequences and their holes, at the end of
// the batch: a hole that was noticed and filled in it never is a row.
func (c *commit) saveSequences() error {
	var args []any
	for _, q := range c.sequences {
		// A sequence without news has no new holes either, but some may have been filled.
		if q.changed {
			args = append(args, q.stream, q.boot, q.last, q.lastAt)
		}
		for i := range q.holes {
			if err := c.saveHole(q, &q.holes[i]); err != nil {
				return err
			}
		}
		for _, f := range q.filled {
			if err := c.saveFilled(q, f); err != nil {
				return err
			}
		}
	}
	return c.execRows("INSERT INTO sequence (stream_id, boot, last_seq, last_at) VALUES ", "(?, ?, ?, ?)",
		" ON CONFLICT (stream_id, boot) DO UPDATE SET last_seq = excluded.last_seq, last_at = excluded.last_at", args)
}

// saveHole inserts, changes or deletes the row of a hole. What a row says of its
// neighbours stays: it explains why the numbers were missing.
func (c *commit) saveHole(q *sequence, h *hole) (err error) {
	switch {
	case h.closed && h.id != 0:
		_, err = c.exec("DELETE FROM gap WHERE id = ?", h.id)
	case h.closed || !h.changed: // noticed and filled in one batch, or as it was
	case h.id != 0:
		_, err = c.exec("UPDATE gap SET from_seq = ?, to_seq = ?, count = ?, changed_at = ? WHERE id = ?",
			h.from, h.to, h.to-h.from+1, c.now, h.id)
	default:
		_, err = c.exec("INSERT INTO gap (stream_id, boot, from_seq, to_seq, count, state, noticed_at, changed_at, "+
			"before_at, after_at) VALUES (?, ?, ?, ?, ?, 'missing', ?, ?, ?, ?)",
			q.stream, q.boot, h.from, h.to, h.to-h.from+1, h.noticed, c.now, h.beforeAt, h.afterAt)
	}
	return err
}

// saveFilled lengthens the row of what was filled just below, or inserts one. changed_at
// is when the last of it came.
func (c *commit) saveFilled(q *sequence, f span) error {
	// A backlog comes in order over many batches: it is one row in the end.
	n, err := c.exec("UPDATE gap SET to_seq = ?, count = count + ?, changed_at = ? "+
		"WHERE stream_id = ? AND boot = ? AND state = 'filled' AND to_seq = ?",
		f.to, f.to-f.from+1, c.now, q.stream, q.boot, f.from-1)
	if err != nil || n > 0 {
		return err
	}
	_, err = c.exec("INSERT INTO gap (stream_id, boot, from_seq, to_seq, count, state, noticed_at, changed_at) "+
		"VALUES (?, ?, ?, ?, ?, 'filled', ?, ?)", q.stream, q.boot, f.from, f.to, f.to-f.from+1, c.now, c.now)
	return err
}
