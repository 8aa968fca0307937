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

// reorderWindow is how long a hole may be open before it is recorded as filled when its
// messages arrive. Shorter holes come from messages that arrived out of order, as with
// several recorders in a group.
const reorderWindow = 60_000 // milliseconds

// A sequenceKey is one boot of a stream. The agent numbers the readings of each boot from 1
// without holes.
type sequenceKey struct {
	stream int64
	boot   string
}

// A sequence holds which numbers of one boot have arrived, during one commit. Each number up
// to last is stored, or in a hole, or in a declared span. A number in a declared span may
// have arrived, too.
type sequence struct {
	sequenceKey
	device     int64 // set before arrived is called
	last       int64 // the highest number that arrived; 0: none
	lastAt     int64 // when it arrived
	changed    bool  // last and lastAt must be saved
	gapsLoaded bool  // holes and declared are those of the database
	holes      []hole
	declared   []span // declared lost by the agent
	filled     []span // arrived after reorderWindow, in the order of arrival
}

// A span is the range of numbers from ... to, both included. It is never empty.
type span struct{ from, to int64 }

// A hole is a span of missing numbers. The holes of a sequence do not overlap, and are below
// its highest number.
type hole struct {
	span
	id              int64 // in the table gap; 0: not yet there
	noticed         int64
	beforeAt        sql.NullInt64
	afterAt         int64
	changed, closed bool
}

// preload reads the sequences of a batch with few queries, as far as their streams are
// cached. In PostgreSQL it locks them, in the same order in all recorders to avoid deadlocks.
func (c *commit) preload(batch []Item) error {
	// A batch has many readings of few streams.
	found := map[sequenceKey]bool{}
	for i := range batch {
		r, ok := batch[i].Message.(message.Reading)
		if !ok || r.Boot == "" {
			continue
		}
		// From the cache only: commit.reading looks up the other names.
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
	// PostgreSQL cannot infer the types of parameters in VALUES.
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

// sequence returns the sequence of a boot, and locks it in PostgreSQL.
func (c *commit) sequence(stream int64, boot string) (*sequence, error) {
	key := sequenceKey{stream, boot}
	// Usually preload has read it, unless its stream was not cached.
	if q := c.sequences[key]; q != nil {
		return q, nil
	}
	if c.lockRows != "" {
		// FOR UPDATE needs a row to lock: two recorders may see a new boot at the same time.
		_, err := c.exec("INSERT INTO sequence (stream_id, boot, last_seq, last_at) VALUES (?, ?, 0, 0) "+
			"ON CONFLICT DO NOTHING", stream, boot)
		if err != nil {
			return nil, err
		}
	}
	// In SQLite the transaction has locked the whole file.
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

// loadGaps reads the gaps of a boot at its first call. Most batches do not need them, because
// their numbers follow each other.
func (c *commit) loadGaps(q *sequence) error {
	if q.gapsLoaded {
		return nil
	}
	// Filled gaps are not needed: they decide nothing.
	q.gapsLoaded = true
	return eachRow(c.ctx, c.Tx, func(rows *sql.Rows) error {
		// One query for both states.
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

// arrived records the arrival of a number at a time. isNew reports that it is certainly the
// first copy; otherwise the caller must look into the table reading.
func (c *commit) arrived(q *sequence, seq, at int64) (isNew bool, err error) {
	// Usually this is the next number, which needs no gaps.
	if seq > q.last {
		if seq > q.last+1 {
			if err := c.openHoles(q, span{q.last + 1, seq - 1}, at); err != nil {
				return false, err
			}
		}
		// The skipped numbers are in a hole now.
		q.last, q.lastAt, q.changed = seq, at, true
		return true, nil
	}
	// A lower number fills a hole, or is a second copy, or was declared lost.
	if err := c.loadGaps(q); err != nil {
		return false, err
	}
	return q.fill(seq, at), nil
}

// openHoles opens holes for numbers that were skipped, except for those that the agent has
// declared lost.
func (c *commit) openHoles(q *sequence, missing span, at int64) error {
	if err := c.loadGaps(q); err != nil {
		return err
	}
	// The loss happened after the arrival of the reading before the hole. Verify looks for
	// an explanation in the connections since then.
	before := sql.NullInt64{Int64: c.s.session.possibleLossSince(q, at), Valid: q.last > 0}
	if !before.Valid {
		// It is the first hole of a boot: the loss happened after all readings of earlier boots.
		err := c.scan("SELECT max(last_at) FROM sequence WHERE stream_id = ? AND boot <> ? AND last_seq > 0",
			[]any{q.stream, q.boot}, &before)
		if err != nil {
			return err
		}
	}
	// Agents send the event of a gap before their backlog, so it may have arrived.
	for _, rest := range subtract(missing, q.declared) {
		q.holes = append(q.holes, hole{span: rest, noticed: at, beforeAt: before, afterAt: at, changed: true})
	}
	return nil
}

// possibleLossSince returns the earliest time at which the numbers between q.last and a number
// that arrived at the given time may have been lost. Usually this is when q.last arrived. It is
// the begin of our connection if a killed broker may have lost the numbers. This is possible
// if q.last came from the broker's queue, and since then the queue has ended or the device has
// connected again. Otherwise the broker was alive between the two arrivals, and lost nothing.
func (s *session) possibleLossSince(q *sequence, at int64) int64 {
	fromQueue := q.lastAt >= s.at && q.lastAt <= s.queueEnd
	// A batch that is stored again may already have recorded a later "online".
	online := s.online[q.device]
	again := online >= q.lastAt && online <= at
	if fromQueue && (again || s.queueEndKnown && at >= s.queueEnd) {
		return s.at
	}
	return q.lastAt
}

// subtract returns the parts of s that are not in minus, in order.
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

// fill removes a number, which arrived at a time, from its hole, and reports whether it was
// in one. If the hole was open longer than reorderWindow, the number is recorded as filled.
func (q *sequence) fill(seq, at int64) bool {
	for i := range q.holes {
		h := &q.holes[i] // they do not overlap: at most one contains seq
		if h.closed || seq < h.from || seq > h.to {
			continue
		}
		// Record a backlog that arrives late, but not messages out of order.
		if at-h.noticed >= reorderWindow {
			q.addFilled(seq)
		}
		q.removeFromHole(i, span{seq, seq})
		return true
	}
	return false
}

// addFilled records a number as filled. Numbers that follow each other become one span, so
// that a batch of a backlog needs one statement.
func (q *sequence) addFilled(seq int64) {
	if n := len(q.filled); n > 0 && q.filled[n-1].to == seq-1 {
		q.filled[n-1].to = seq
		return
	}
	q.filled = append(q.filled, span{seq, seq})
}

// removeFromHole removes a span from hole i, which becomes smaller, splits or closes. It may
// reallocate q.holes: pointers into it are not valid afterwards.
func (q *sequence) removeFromHole(i int, out span) {
	// The row keeps the lower part; the upper part becomes a new row with the same neighbours.
	left := subtract(q.holes[i].span, []span{out})
	h := q.holes[i]
	// saveHole deletes the row.
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

// declare stores a loss that the agent has declared. The declaration may arrive before or
// after the numbers are found to be missing.
func (c *commit) declare(q *sequence, g message.Gap, at int64) error {
	if err := c.loadGaps(q); err != nil {
		return err
	}
	// The whole span counts as declared, even if Count is smaller: the agent does not say which
	// readings it thinned out. Verify compares the counts.
	lost := span{g.From, g.To}
	q.declared = append(q.declared, lost)
	q.changed = true              // gaps are read only for a sequence in the table: it must be saved
	for i := range len(q.holes) { // removeFromHole may append holes, which are outside of lost
		if h := q.holes[i]; !h.closed && h.from <= lost.to && lost.from <= h.to {
			q.removeFromHole(i, lost)
		}
	}
	_, err := c.exec("INSERT INTO gap (stream_id, boot, from_seq, to_seq, count, state, why, noticed_at, changed_at) "+
		"VALUES (?, ?, ?, ?, ?, 'declared', ?, ?, ?)",
		q.stream, q.boot, g.From, g.To, g.Count, nullText(g.Why), at, at)
	return err
}

// saveSequences writes the changes of the sequences and their holes, at the end of the batch:
// a hole that was opened and filled within the batch never becomes a row.
func (c *commit) saveSequences() error {
	var args []any
	for _, q := range c.sequences {
		// Without a new highest number there are no new holes, but some may have been filled.
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

// saveHole inserts, updates or deletes the row of a hole. An update keeps before_at and
// after_at: Verify needs them to explain why the numbers are missing.
func (c *commit) saveHole(q *sequence, h *hole) (err error) {
	switch {
	case h.closed && h.id != 0:
		_, err = c.exec("DELETE FROM gap WHERE id = ?", h.id)
	case h.closed || !h.changed: // opened and filled in one batch, or unchanged
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

// saveFilled stores a filled span. It extends the row that ends just below the span, or
// inserts a row. changed_at is when its last number arrived.
func (c *commit) saveFilled(q *sequence, f span) error {
	// A backlog arrives in order over many batches: it becomes one row.
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
