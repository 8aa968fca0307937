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

// Widths of the buckets of the rollups, in milliseconds.
const (
	hour = int64(time.Hour / time.Millisecond)
	day  = 24 * hour
)

// An hourKey is one hour of one stream; ts is its begin. It is also used for days.
type hourKey struct{ stream, ts int64 }

// noteHour records that the readings of the hour of ts change. ts is never negative, so
// ts - ts%hour is the begin of the hour.
func (c *commit) noteHour(stream, ts int64) { c.hours[hourKey{stream, ts - ts%hour}] = true }

// markHours marks the hours whose readings a commit changed. ON CONFLICT locks an existing
// mark, so that a concurrent RollUp waits for this transaction or computes the hour again.
// Hours before the horizon are not marked: their readings are deleted.
func (c *commit) markHours() error {
	var args []any
	// Always in the same order: otherwise two recorders could deadlock.
	for _, h := range slices.SortedFunc(maps.Keys(c.hours), compareHours) {
		if h.ts >= c.horizon { // mergeBeforeHorizon has handled the others
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

// mergeBeforeHorizon adds readings from before the horizon to the rollups: RollUp cannot
// compute their hours again, because Retain has deleted the other readings. The new ones are
// in the table reading until the next Retain.
func (c *commit) mergeBeforeHorizon() error {
	for i := range c.rows {
		r := &c.rows[i]
		// An unsynced time, such as 1970, may be corrected later: the reading would then be
		// counted twice.
		if r.TS >= c.horizon || r.Clock == message.Unsynced {
			continue
		}
		// One statement each: readings that are so late are rare.
		n, failed := 1, 0
		if math.IsNaN(r.Value) {
			n = 0
		}
		if r.Error != "" {
			failed = 1
		}
		// Both tables: the hours of the day may be deleted, so it cannot be computed from them.
		for table, width := range map[string]int64{"reading_hour": hour, "reading_day": day} {
			// A comparison with NULL is never true: then ELSE takes the other value.
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

// rollUpChunk is how many hours one transaction computes. Commit waits for it in SQLite.
const rollUpChunk = 50

// RollUp computes the hours that have changed, and their days. It returns the number of
// hours. It may run at the same time as Commit.
func (s *Store) RollUp(ctx context.Context) (hours int, err error) {
	for {
		// Short transactions: SQLite has one writer, and Commit waits for it.
		n, err := s.rollUpSome(ctx)
		hours += n
		if err != nil || n < rollUpChunk {
			return hours, err
		}
	}
}

// rollUpSome computes up to rollUpChunk hours in one transaction, and returns how many. If two
// processes compute the same hour, the second waits for the first and gets the same result.
func (s *Store) rollUpSome(ctx context.Context) (int, error) {
	tx, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // without effect after Commit
	// Read all rows before the next statement: the transaction has one connection.
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
		// Delete the mark first: this waits for a commit that is changing the hour.
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

// rollHour computes one hour from its readings. A reading with a state but no value counts
// neither as a value nor as an error.
func (t transaction) rollHour(h hourKey) error {
	// Delete first: if the last reading moved to another hour, no row may stay.
	if _, err := t.exec("DELETE FROM reading_hour WHERE stream_id = ? AND ts = ?", h.stream, h.ts); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO reading_hour (stream_id, ts, n, errors, min, max, sum) "+
		"SELECT stream_id, CAST(? AS BIGINT), count(value), count(error), min(value), max(value), sum(value) FROM reading "+
		"WHERE stream_id = ? AND ts >= ? AND ts < ? GROUP BY stream_id", h.ts, h.stream, h.ts, h.ts+hour)
	return err
}

// rollDay computes one day from its hours. This is exact, because hours store a sum and a
// count in place of a mean.
func (t transaction) rollDay(d hourKey) error {
	if _, err := t.exec("DELETE FROM reading_day WHERE stream_id = ? AND ts = ?", d.stream, d.ts); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO reading_day (stream_id, ts, n, errors, min, max, sum) "+
		"SELECT stream_id, CAST(? AS BIGINT), sum(n), sum(errors), min(min), max(max), sum(sum) FROM reading_hour "+
		"WHERE stream_id = ? AND ts >= ? AND ts < ? GROUP BY stream_id", d.ts, d.stream, d.ts, d.ts+day)
	return err
}

// Deleted counts the deleted rows of the tables reading and reading_hour.
type Deleted struct{ Readings, Hours int64 }

// Retain deletes readings that were measured before one time, and hours before another.
// It first computes the hours and days of these readings. Both times are rounded down to a
// day (UTC); a zero time deletes nothing. It may run at the same time as Commit.
func (s *Store) Retain(ctx context.Context, readings, hours time.Time) (r Deleted, err error) {
	// Nothing is deleted if one of the two times is not allowed.
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

// startOfDay returns the begin of the day of t in UTC, in Unix milliseconds. Retain deletes
// whole days, so that it never deletes a part of an hour or a day.
func startOfDay(t time.Time) int64 { return t.UnixMilli() - t.UnixMilli()%day }

// checkHours returns an error if hours would be deleted whose readings are kept: RollUp could
// compute such an hour again. A zero time deletes nothing.
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

// horizon returns the time before which Retain has deleted readings; 0: none.
func (s *Store) horizon(ctx context.Context) (ms int64, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT value FROM counter WHERE name = 'horizon'").Scan(&ms)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return ms, err
}

// moveHorizon computes the hours before a time and makes them final: RollUp does not compute
// them again. The horizon never moves back: readings before an earlier one are deleted.
func (s *Store) moveHorizon(ctx context.Context, before int64) error {
	for {
		// The rollups must include all readings that will be deleted.
		if _, err := s.RollUp(ctx); err != nil {
			return err
		}
		// If a commit has marked another hour since, compute that one, too.
		moved, err := s.tryMoveHorizon(ctx, before)
		if err != nil || moved {
			return err
		}
	}
}

// tryMoveHorizon moves the horizon, unless an hour before it is marked. No Commit may run
// during it, because a Commit uses the horizon that it read at its begin: its mark would not
// be seen here, and the hour would be computed again after its other readings were deleted.
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

// isExpired is the SQL condition that a reading with an old ts can be deleted. If its clock was not
// set, ts may be 1970 and may be corrected later: then received_at decides.
const isExpired = "(coalesce(clock, '') <> 'unsynced' OR received_at < ?)"

// deleteReadings deletes the readings of one stream and day in each transaction, so that
// Commit never waits long.
func (s *Store) deleteReadings(ctx context.Context, before int64) (deleted int64, err error) {
	var streams []int64
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		streams = append(streams, id)
		return err
	}, "SELECT id FROM stream")
	// After an error of the query the loops below do nothing.
	for _, id := range streams {
		for err == nil {
			// The index by time finds the oldest reading that can be deleted.
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
			// One day from the oldest reading on, so that days without readings are skipped.
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
