package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
)

// Buckets of the rollups, in milliseconds.
const (
	hour = int64(time.Hour / time.Millisecond)
	day  = 24 * hour
)

// An hourKey is one hour of one stream: ts is its begin. Days have the same type.
type hourKey struct{ stream, ts int64 }

// touch notes that the readings of an hour change. Times are not negative, so the
// remainder is the way to the begin of the hour.
func (c *commit) noteHour(stream, ts int64) { c.hours[hourKey{stream, ts - ts%hour}] = true }

// markHours marks the hours that a commit touched. The conflict locks the mark, so
// that a RollUp at the same time waits for this transaction or computes it again.
// Hours before the horizon are not computed anew: their readings are gone.
func (c *commit) markHours() error {
	var args []any
	// In one order, so that two recorders never wait for each other.
	for _, h := range slices.SortedFunc(maps.Keys(c.hours), compareHours) {
		if h.ts >= c.horizon { // mergeBeforeHorizon has seen to the others
			args = append(args, h.stream, h.ts)
		}
	}
	return c.execRows("INSERT INTO dirty_hour (stream_id, ts) VALUES ", "(?, ?)",
		" ON CONFLICT (stream_id, ts) DO UPDATE SET ts = excluded.ts", args)
}

// compareHours orders hours by stream and time.
func compareHours(a, b hourKey) int {
	return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.ts, b.ts))
}

// mergeBeforeHorizon adds readings that arrive after retain has deleted their hour to
// what is left of it. They are in the table reading until the next retain.
func (c *commit) mergeBeforeHorizon() error {
	for i := range c.rows {
		r := &c.rows[i]
		// A time that nothing vouches for is before every horizon, and may get better: then the
		// reading would be counted twice.
		if r.TS >= c.horizon || r.Clock == message.Unsynced {
			continue
		}
		// Late by more than retain keeps: rare, so one statement each.
		n, failed := 1, 0
		if math.IsNaN(r.Value) {
			n = 0
		}
		if r.Error != "" {
			failed = 1
		}
		// Both at once: the day is not computed from its hours again, which may be deleted.
		for table, width := range map[string]int64{"reading_hour": hour, "reading_day": day} {
			// NULL compares as neither less nor more: then the other one is taken.
			_, err := c.exec("INSERT INTO "+table+" (stream_id, ts, n, errors, min, max, sum) "+
				"VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (stream_id, ts) DO UPDATE SET n = "+table+".n + excluded.n, "+
				"errors = "+table+".errors + excluded.errors, "+
				"min = CASE WHEN "+table+".min < excluded.min THEN "+table+".min ELSE coalesce(excluded.min, "+table+".min) END, "+
				"max = CASE WHEN "+table+".max > excluded.max THEN "+table+".max ELSE coalesce(excluded.max, "+table+".max) END, "+
				"sum = coalesce("+table+".sum, 0) + coalesce(excluded.sum, 0)",
				r.stream, r.TS-r.TS%width, n, failed, nullValue(r.Value), nullValue(r.Value), nullValue(r.Value))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// rollChunk is how many hours one transaction computes: readings wait meanwhile.
const rollUpChunk = 50

// RollUp computes the hours that have changed, and their days, and returns how many
// hours it computed. It may run beside Commit.
func (s *Store) RollUp(ctx context.Context) (hours int, err error) {
	for {
		// Short transactions: SQLite has one writer, and readings wait for it.
		n, err := s.rollUpSome(ctx)
		hours += n
		if err != nil || n < rollUpChunk {
			return hours, err
		}
	}
}

// rollSome computes a few hours in one transaction, and returns how many. Two callers
// may compute the same hour: the second waits for the first, and finds the same.
func (s *Store) rollUpSome(ctx context.Context) (int, error) {
	tx, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // without effect after Commit
	// Read to the end before the first statement: SQLite has one connection here.
	var dirty []hourKey
	err = eachRow(ctx, tx.Tx, func(rows *sql.Rows) error {
		var h hourKey
		err := rows.Scan(&h.stream, &h.ts)
		dirty = append(dirty, h)
		return err
	}, tx.sql("SELECT stream_id, ts FROM dirty_hour ORDER BY stream_id, ts LIMIT ?"), rollUpChunk)
	if err != nil {
		return 0, err
	}
	// A day is computed once, however many of its hours have changed.
	days := map[hourKey]bool{}
	for _, h := range dirty {
		// The mark goes first: it waits for a transaction that adds to the hour.
		if _, err := tx.exec("DELETE FROM dirty_hour WHERE stream_id = ? AND ts = ?", h.stream, h.ts); err != nil {
			return 0, err
		}
		if err := tx.rollHour(h); err != nil {
			return 0, err
		}
		days[hourKey{h.stream, h.ts - h.ts%day}] = true
	}
	for d := range days {
		if err := tx.rollDay(d); err != nil {
			return 0, err
		}
	}
	return len(dirty), tx.Commit()
}

// rollHour computes one hour from its readings. What has no value counts as an error
// only if it says why; words without a number count as neither.
func (t transaction) rollHour(h hourKey) error {
	// Deleted first: the last reading may have left the hour for another one.
	if _, err := t.exec("DELETE FROM reading_hour WHERE stream_id = ? AND ts = ?", h.stream, h.ts); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO reading_hour (stream_id, ts, n, errors, min, max, sum) "+
		"SELECT stream_id, CAST(? AS BIGINT), count(value), count(error), min(value), max(value), sum(value) FROM reading "+
		"WHERE stream_id = ? AND ts >= ? AND ts < ? GROUP BY stream_id", h.ts, h.stream, h.ts, h.ts+hour)
	return err
}

// rollDay computes one day from its hours, which are fewer than its readings and exact:
// a mean is kept as a sum and a number.
func (t transaction) rollDay(d hourKey) error {
	if _, err := t.exec("DELETE FROM reading_day WHERE stream_id = ? AND ts = ?", d.stream, d.ts); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO reading_day (stream_id, ts, n, errors, min, max, sum) "+
		"SELECT stream_id, CAST(? AS BIGINT), sum(n), sum(errors), min(min), max(max), sum(sum) FROM reading_hour "+
		"WHERE stream_id = ? AND ts >= ? AND ts < ? GROUP BY stream_id", d.ts, d.stream, d.ts, d.ts+day)
	return err
}

// Retained counts what Retain has deleted. Hours are those of reading_hour.
type Deleted struct{ Readings, Hours int64 }

// Retain deletes readings that were measured before a time, after it has made sure
// that their hours and days are computed, and hours before another time. Both are
// rounded down to a day; zero times delete nothing. It may run beside Commit.
func (s *Store) Retain(ctx context.Context, readings, hours time.Time) (r Deleted, err error) {
	// A whole day, so that no hour and no day is half deleted. Nothing is deleted before both
	// are known to be possible.
	if err := s.checkHours(ctx, readings, hours); err != nil {
		return r, err
	}
	if !readings.IsZero() {
		before := startOfDay(readings)
		if err := s.moveHorizon(ctx, before); err != nil {
			return r, err
		}
		if r.Readings, err = s.deleteReadings(ctx, before); err != nil {
			return r, err
		}
	}
	if !hours.IsZero() {
		result, err := s.db.ExecContext(ctx, s.sql("DELETE FROM reading_hour WHERE ts < ?"), startOfDay(hours))
		if err != nil {
			return r, err
		}
		r.Hours, err = result.RowsAffected()
		return r, err
	}
	return r, nil
}

// startOfDay is the begin of the day of a time, in UTC and milliseconds.
func startOfDay(t time.Time) int64 { return t.UnixMilli() - t.UnixMilli()%day }

// checkHours makes sure that hours are only deleted where the readings are: a late reading
// would compute them again. Zero times delete nothing.
func (s *Store) checkHours(ctx context.Context, readings, hours time.Time) error {
	if hours.IsZero() {
		return nil
	}
	horizon, err := s.horizon(ctx)
	if err != nil {
		return err
	}
	if !readings.IsZero() {
		horizon = max(horizon, startOfDay(readings))
	}
	if startOfDay(hours) > horizon {
		return fmt.Errorf("hours can only be deleted where the readings are deleted, too: " +
			"name a longer time for hours than for readings")
	}
	return nil
}

// horizon is the time before which retain has deleted readings; 0: it has deleted none.
func (s *Store) horizon(ctx context.Context) (ms int64, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT value FROM counter WHERE name = 'horizon'").Scan(&ms)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return ms, err
}

// moveHorizon makes the hours before a time final: they are computed, and not again. It
// never moves back: readings before an earlier horizon are gone.
func (s *Store) moveHorizon(ctx context.Context, before int64) error {
	for {
		// Everything that is to be deleted has to be in the hours and days first.
		if _, err := s.RollUp(ctx); err != nil {
			return err
		}
		// A commit may have marked an hour meanwhile: then it is computed, too.
		moved, err := s.tryMoveHorizon(ctx, before)
		if err != nil || moved {
			return err
		}
	}
}

// tryMoveHorizon moves the horizon, unless an hour before it is marked. A Commit goes by the
// horizon that it has read at its begin, so none may be under way: its mark would not be
// seen, and the hour would be computed anew when its other readings are gone.
func (s *Store) tryMoveHorizon(ctx context.Context, before int64) (moved bool, err error) {
	tx, err := s.begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() // without effect after Commit
	if s.blockCommits != "" {
		if _, err := tx.exec(s.blockCommits); err != nil {
			return false, err
		}
	}
	n, err := tx.exec("INSERT INTO counter (name, value) "+
		"SELECT 'horizon', CAST(? AS BIGINT) WHERE NOT EXISTS (SELECT 1 FROM dirty_hour WHERE ts < ?) "+
		"ON CONFLICT (name) DO UPDATE SET value = "+
		"CASE WHEN excluded.value > counter.value THEN excluded.value ELSE counter.value END", before, before)
	if err != nil {
		return false, err
	}
	return n > 0, tx.Commit()
}

// isOld is true of a reading that is to be deleted by its time. One whose clock was not set may
// say 1970, and get a better time yet: its age is that of its arrival.
const isExpired = "(coalesce(clock, '') <> 'unsynced' OR received_at < ?)"

// deleteReadings deletes readings in pieces of a day of a stream: writers wait for
// one piece at most.
func (s *Store) deleteReadings(ctx context.Context, before int64) (deleted int64, err error) {
	var streams []int64
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		streams = append(streams, id)
		return err
	}, "SELECT id FROM stream")
	// The error of the query ends the loop below at once.
	for _, id := range streams {
		for err == nil {
			// The index of time finds the oldest, behind those that are kept.
			var first int64
			err = s.read.QueryRowContext(ctx, s.sql("SELECT ts FROM reading WHERE stream_id = ? AND ts < ? AND "+isExpired+
				" ORDER BY ts LIMIT 1"), id, before, before).Scan(&first)
			if errors.Is(err, sql.ErrNoRows) {
				err = nil
				break
			}
			if err != nil {
				break
			}
			var result sql.Result
			// A day from the oldest on: the pieces are small where there are gaps, too.
			result, err = s.db.ExecContext(ctx, s.sql("DELETE FROM reading WHERE stream_id = ? AND ts < ? AND "+isExpired),
				id, min(before, first+day), before)
			if err == nil {
				n, _ := result.RowsAffected()
				deleted += n
			}
		}
	}
	return deleted, err
}
