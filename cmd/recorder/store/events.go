package store

import (
	"context"
	"database/sql"
)

// An Event is one row of the table event. JSON is the whole object, with the details
// that each kind of event has.
type Event struct {
	TS, ReceivedAt int64
	Name, JSON     string
}

// Events returns the events of a device in a range of time, at most limit of them,
// the newest first.
func (s *Store) Events(ctx context.Context, r Range, limit int) (all []Event, err error) {
	id, err := s.deviceID(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	err = each(ctx, s.read, func(rows *sql.Rows) error {
		var e Event
		err := rows.Scan(&e.TS, &e.ReceivedAt, &e.Name, &e.JSON)
		all = append(all, e)
		return err
	}, s.sql("SELECT ts, received_at, event, details FROM event WHERE device_id = ? AND ts >= ? AND ts < ? "+
		"ORDER BY ts DESC, id DESC LIMIT ?"), id, r.From, r.To, limit)
	return all, err
}

// alarmSuffix is what the name of a stream's alarm has after the stream's own.
const alarmSuffix = "_alarm"

// An Alarm is a reading that says that an alarm began or ended.
type Alarm struct {
	TS    int64
	State string // alarm when it begins; ok, or the error of a failed read, when it ends
}

// Alarms returns the readings of the alarm that an agent derives from a stream (its name
// with "_alarm"), in a range of time, at most limit of them, the oldest first. Each is a
// change. The last one before the range comes first: it says whether an alarm goes on. A
// stream without an alarm has none.
func (s *Store) Alarms(ctx context.Context, r Range, limit int) (all []Alarm, err error) {
	err = each(ctx, s.read, func(rows *sql.Rows) error {
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
