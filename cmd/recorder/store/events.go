package store

import (
	"context"
	"database/sql"
	"errors"
)

// An Event is one row of the table event. JSON is the whole object as the agent sent it.
type Event struct {
	TS, ReceivedAt int64
	Name, JSON     string
}

// maxEventBytes bounds the JSON of the events of one answer: one event may have 64 KiB.
const maxEventBytes = 1 << 20

// errEnough stops a query whose remaining rows are not needed.
var errEnough = errors.New("enough")

// Events returns the events of a device in a range of time, newest first: at most limit
// events, and little more than 1 MiB of JSON. more reports that some were left out.
func (s *Store) Events(ctx context.Context, r Range, limit int) (all []Event, more bool, err error) {
	id, err := s.deviceID(ctx, r.Device)
	if err != nil {
		return nil, false, err
	}
	bytes := 0
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		if len(all) == limit || bytes > maxEventBytes {
			return errEnough
		}
		var e Event
		err := rows.Scan(&e.TS, &e.ReceivedAt, &e.Name, &e.JSON)
		all, bytes = append(all, e), bytes+len(e.JSON)
		return err
	}, s.sql("SELECT ts, received_at, event, details FROM event WHERE device_id = ? AND ts >= ? AND ts < ? "+
		"ORDER BY ts DESC, id DESC LIMIT ?"), id, r.From, r.To, limit+1)
	if errors.Is(err, errEnough) {
		return all, true, nil
	}
	return all, false, err
}

// alarmSuffix is appended to the name of a stream to get the name of its alarm.
const alarmSuffix = "_alarm"

// An Alarm is a reading that says that an alarm began or ended.
type Alarm struct {
	TS    int64
	State string // "alarm" when it begins; "ok" or the error of a failed read when it ends
}

// Alarms returns the changes of the alarm that an agent derives from a stream, in a range of
// time, at most limit of them, oldest first. The last change before the range comes first: it
// says whether an alarm was active at its begin. A stream without an alarm has none.
func (s *Store) Alarms(ctx context.Context, r Range, limit int) (all []Alarm, err error) {
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var a Alarm
		err := rows.Scan(&a.TS, &a.State)
		all = append(all, a)
		return err
	}, s.sql(`SELECT r.ts, coalesce(r.state, r.error, '') FROM reading r JOIN stream s ON s.id = r.stream_id
		JOIN device d ON d.id = s.device_id WHERE d.name = ? AND s.name = ? AND r.ts < ?
			AND r.ts >= coalesce((SELECT max(ts) FROM reading WHERE stream_id = s.id AND ts < ?), ?)
		ORDER BY r.ts, r.boot, r.seq LIMIT ?`), r.Device, r.Stream+alarmSuffix, r.To, r.From, r.From, limit)
	return all, err
}

// A Late is a stream with late readings, and the hours of these readings.
type Late struct {
	Device, Stream string
	Unit           string  // of the newest late reading; empty: none
	Hours          []int64 // the begin of each, Unix milliseconds, oldest first
}

// LateHours returns the streams with readings that were sent late (historical), and the
// hours of these readings, ordered by device and stream. Readings with an unsynced clock are
// left out: their hour is not known.
func (s *Store) LateHours(ctx context.Context, r Range) (all []Late, err error) {
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var device, stream, unit string
		var ts int64
		if err := rows.Scan(&device, &stream, &ts, &unit); err != nil {
			return err
		}
		if n := len(all); n == 0 || all[n-1].Device != device || all[n-1].Stream != stream {
			all = append(all, Late{Device: device, Stream: stream})
		}
		l := &all[len(all)-1]
		l.Unit, l.Hours = unit, append(l.Hours, ts)
		return nil
	}, s.sql(`SELECT d.name, s.name, r.ts - r.ts % 3600000 AS hour, max(coalesce(r.unit, ''))
		FROM stream s JOIN device d ON d.id = s.device_id JOIN reading r ON r.stream_id = s.id
		WHERE (? = '' OR d.name = ?) AND (? = '' OR s.name = ?) AND r.ts >= ? AND r.ts < ? AND r.historical
			AND r.value IS NOT NULL AND coalesce(r.clock, '') <> 'unsynced'
		GROUP BY d.name, s.name, hour ORDER BY d.name, s.name, hour`),
		r.Device, r.Device, r.Stream, r.Stream, r.From, r.To)
	return all, err
}

// Summary returns minimum, maximum and mean of a stream in a range of whole hours. It uses the
// readings, or the table of hours if Retain has deleted readings of the range. Readings with an
// unsynced clock are left out: their hour is not known.
func (s *Store) Summary(ctx context.Context, r Range) (b Bucket, err error) {
	id, err := s.streamID(ctx, r.Device, r.Stream)
	if err != nil {
		return b, err
	}
	horizon, err := s.horizon(ctx)
	if err != nil {
		return b, err
	}
	query := "SELECT count(value), min(value), max(value), avg(value) FROM reading " +
		"WHERE stream_id = ? AND ts >= ? AND ts < ? AND coalesce(clock, '') <> 'unsynced'"
	if r.From < horizon {
		query = "SELECT coalesce(sum(n), 0), min(min), max(max), sum(sum) / sum(n) FROM reading_hour " +
			"WHERE stream_id = ? AND ts >= ? AND ts < ?"
	}
	var lowest, highest, mean sql.NullFloat64
	err = s.read.QueryRowContext(ctx, s.sql(query), id, r.From, r.To).Scan(&b.N, &lowest, &highest, &mean)
	b.TS, b.Min, b.Max, b.Mean = r.From, lowest.Float64, highest.Float64, mean.Float64
	return b, err
}
