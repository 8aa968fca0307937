package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// ErrUnknown means that the database has no such device or stream.
var ErrUnknown = errors.New("is not in the database: holdfast-recorder devices lists what is")

// A Device has the latest status that a device sent, and totals of its history. What the
// device has not sent is NULL or empty.
type Device struct {
	ID          int64
	Name        string
	FirstSeen   int64
	Online      sql.NullBool
	OnlineSince sql.NullInt64
	Version     string
	Boot        string
	Hardware    string
	HealthAt    sql.NullInt64
	Backlog     sql.NullInt64
	Oldest      sql.NullFloat64 // age of the oldest unsent reading in seconds
	Dropped     sql.NullInt64
	Clock       string
	Faults      string // JSON list of streams
	Streams     int
	Missing     int64 // numbers that are missing and were not declared lost
	LastAt      sql.NullInt64
}

// Fleet returns all devices, ordered by name. It does not read the table reading, so it does
// not become slower as the history grows.
func (s *Store) Fleet(ctx context.Context) (all []Device, err error) {
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var d Device
		var missing float64
		err := rows.Scan(&d.ID, &d.Name, &d.FirstSeen, &d.Online, &d.OnlineSince, &d.Version, &d.Boot, &d.Hardware,
			&d.HealthAt, &d.Backlog, &d.Oldest, &d.Dropped, &d.Clock, &d.Faults, &d.Streams, &missing, &d.LastAt)
		d.Missing = int64(min(missing, 1<<62))
		all = append(all, d)
		return err
		// The time of the last reading is in the small table sequence. The sum uses floating-point
		// numbers, because a sum of integers fails when it overflows.
	}, `SELECT d.id, d.name, d.first_seen, t.online, t.online_since, coalesce(t.version, ''), coalesce(t.boot, ''),
		coalesce(t.hardware, ''), t.health_at, t.backlog, t.oldest, t.dropped, coalesce(t.clock, ''),
		coalesce(t.faults, ''), (SELECT count(*) FROM stream s WHERE s.device_id = d.id),
		(SELECT coalesce(sum(CAST(g.count AS DOUBLE PRECISION)), 0) FROM gap g JOIN stream s ON s.id = g.stream_id
			WHERE s.device_id = d.id AND g.state = 'missing'),
		(SELECT max(q.last_at) FROM sequence q JOIN stream s ON s.id = q.stream_id WHERE s.device_id = d.id)
		FROM device d LEFT JOIN device_status t ON t.device_id = d.id ORDER BY d.name`)
	return all, err
}

// Register adds devices, so that the recorder stores what they send even if Options.Unknown
// refuses unknown ones. It returns the number of devices that were new.
func (s *Store) Register(ctx context.Context, names []string, at time.Time) (added int64, err error) {
	// A running recorder sees them in its next commit.
	for _, name := range names {
		r, err := s.db.ExecContext(ctx, s.sql("INSERT INTO device (name, first_seen) VALUES (?, ?) "+
			"ON CONFLICT DO NOTHING"), name, at.UnixMilli())
		if err != nil {
			return added, err
		}
		n, err := r.RowsAffected()
		if err != nil {
			return added, err
		}
		added += n
	}
	return added, nil
}

// deviceID returns the ID of a device. If there is none, the error wraps ErrUnknown and
// contains the name.
func (s *Store) deviceID(ctx context.Context, name string) (id int64, err error) {
	err = s.read.QueryRowContext(ctx, s.sql("SELECT id FROM device WHERE name = ?"), name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("device %q %w", name, ErrUnknown)
	}
	return id, err
}

// A Gap is one row of the table gap with the names of its stream.
type Gap struct {
	Device, Stream, Boot string
	From, To, Count      int64
	State                string // missing, filled, declared
	Why                  string // of a declared gap, as the agent says; of a missing one, see Verify
	NoticedAt            int64
	ChangedAt            int64
	BeforeAt             sql.NullInt64 // when the reading before the gap arrived
	AfterAt              sql.NullInt64 // when the reading after the gap arrived
}

// Gaps returns the gaps of a device, or of all devices if the name is empty. They are ordered
// by device, stream, boot and number.
func (s *Store) Gaps(ctx context.Context, device string) (all []Gap, err error) {
	// A mistyped name must not look like a device without gaps.
	if device != "" {
		if _, err := s.deviceID(ctx, device); err != nil {
			return nil, err
		}
	}
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var g Gap
		err := rows.Scan(&g.Device, &g.Stream, &g.Boot, &g.From, &g.To, &g.Count, &g.State, &g.Why, &g.NoticedAt,
			&g.ChangedAt, &g.BeforeAt, &g.AfterAt)
		all = append(all, g)
		return err
	}, s.sql(`SELECT d.name, s.name, g.boot, g.from_seq, g.to_seq, g.count, g.state, coalesce(g.why, ''), g.noticed_at,
		g.changed_at, g.before_at, g.after_at FROM gap g JOIN stream s ON s.id = g.stream_id
		JOIN device d ON d.id = s.device_id WHERE ? = '' OR d.name = ?
		ORDER BY d.name, s.name, g.boot, g.from_seq, g.id`), device, device)
	return all, err
}

// A Row is a row of the table reading with the names of its device and stream. What is NULL in
// the table is NULL here.
type Row struct {
	Device, Stream string
	Boot           sql.NullString
	Seq            sql.NullInt64
	TS, ReceivedAt int64
	Value          sql.NullFloat64
	State, Unit    sql.NullString
	Error, Clock   sql.NullString
	Historical     bool
}

// A Range selects readings. An empty name selects all.
type Range struct {
	Device, Stream string
	From, To       int64 // Unix milliseconds: From <= ts < To
}

// Readings calls do for each reading of a range, ordered by device, stream and time. It stops
// at the first error of do and returns it. It holds one row in memory. In SQLite a slow do
// prevents the checkpoint of the WAL file, which then grows.
func (s *Store) Readings(ctx context.Context, r Range, do func(Row) error) error {
	// Stream by stream: the index by stream and time gives the order without sorting.
	type stream struct {
		id   int64
		d, s string
	}
	var streams []stream
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var one stream
		err := rows.Scan(&one.id, &one.d, &one.s)
		streams = append(streams, one)
		return err
	}, s.sql(`SELECT s.id, d.name, s.name FROM stream s JOIN device d ON d.id = s.device_id
		WHERE (? = '' OR d.name = ?) AND (? = '' OR s.name = ?) ORDER BY d.name, s.name`),
		r.Device, r.Device, r.Stream, r.Stream)
	// An empty database is not an error; an unknown name is one.
	if err == nil && len(streams) == 0 && r.Device+r.Stream != "" {
		err = fmt.Errorf("%s %w", strings.TrimSuffix(r.Device+"/"+r.Stream, "/"), ErrUnknown)
	}
	for _, one := range streams {
		if err != nil {
			break
		}
		err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
			// A new Row each time: do may keep it.
			row := Row{Device: one.d, Stream: one.s}
			err := rows.Scan(&row.Boot, &row.Seq, &row.TS, &row.ReceivedAt, &row.Value, &row.State, &row.Unit, &row.Error,
				&row.Clock, &row.Historical)
			if err != nil {
				return err
			}
			return do(row)
		}, s.sql(`SELECT boot, seq, ts, received_at, value, state, unit, error, clock, historical FROM reading
			WHERE stream_id = ? AND ts >= ? AND ts < ? ORDER BY ts, boot, seq`), one.id, r.From, r.To)
	}
	return err
}

// A Bucket summarises the readings of a period.
type Bucket struct {
	TS             int64 // the begin of the period
	N              int64 // readings with a value
	Errors         int64
	Min, Max, Mean float64 // NaN if N is 0
	// Readings that were sent more than 10 s late; NULL if read from a rollup, which does not count them.
	Late sql.NullInt64
}

// Buckets returns minimum, maximum and mean of a stream in buckets of a width. If the width is
// a multiple of an hour, they are read from the rollups, which include new readings up to a
// minute later. Buckets without readings are left out.
func (s *Store) Buckets(ctx context.Context, r Range, width time.Duration) (all []Bucket, err error) {
	// Times have a resolution of a millisecond.
	w := width.Milliseconds()
	if w < 1 {
		return nil, fmt.Errorf("buckets of %v: want 1ms or more", width)
	}
	id, err := s.streamID(ctx, r.Device, r.Stream)
	if err != nil {
		return nil, err
	}
	// The coarsest table whose rows fit into a bucket: it has the fewest rows to read.
	n, failed, lowest, highest, total := "count(value)", "count(error)", "min(value)", "max(value)", "sum(value)"
	late := "count(CASE WHEN historical THEN 1 END)"
	table := "reading"
	if w%hour == 0 {
		n, failed, lowest, highest, total = "sum(n)", "sum(errors)", "min(min)", "max(max)", "sum(sum)"
		table, late = "reading_hour", "CAST(NULL AS BIGINT)"
		if w%day == 0 {
			table = "reading_day"
		}
	}
	// The database groups the rows, so that it returns one row for each bucket.
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var b Bucket
		var lo, hi, sum sql.NullFloat64
		err := rows.Scan(&b.TS, &b.N, &b.Errors, &lo, &hi, &sum, &b.Late)
		// A bucket that has only errors has no minimum: NaN, not 0.
		b.Min, b.Max, b.Mean = math.NaN(), math.NaN(), math.NaN()
		if b.N > 0 {
			b.Min, b.Max, b.Mean = lo.Float64, hi.Float64, sum.Float64/float64(b.N)
		}
		all = append(all, b)
		return err
	}, s.sql(fmt.Sprintf("SELECT ts - ts %% %d AS bucket, %s, %s, %s, %s, %s, %s FROM %s "+
		"WHERE stream_id = ? AND ts >= ? AND ts < ? GROUP BY bucket ORDER BY bucket",
		w, n, failed, lowest, highest, total, late, table)), id, r.From-r.From%w, r.To)
	return all, err
}

// A Span is a gap with the measurement times of the readings around it. If such a reading is
// not stored, the time is its arrival.
type Span struct {
	Gap
	Begin, End int64
}

// Spans returns the gaps of one stream that overlap a range of time, ordered by their begin,
// at most limit of them.
func (s *Store) Spans(ctx context.Context, r Range, limit int) (all []Span, err error) {
	id, err := s.streamID(ctx, r.Device, r.Stream)
	if err != nil {
		return nil, err
	}
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		one := Span{Gap: Gap{Device: r.Device, Stream: r.Stream}}
		err := rows.Scan(&one.Boot, &one.From, &one.To, &one.Count, &one.State, &one.Why, &one.NoticedAt, &one.ChangedAt,
			&one.BeforeAt, &one.AfterAt, &one.Begin, &one.End)
		all = append(all, one)
		return err
		// The unique index finds each neighbour without a scan.
	}, s.sql(`SELECT boot, from_seq, to_seq, count, state, why, noticed_at, changed_at, before_at, after_at, begins, ends
		FROM (SELECT g.boot, g.from_seq, g.to_seq, g.count, g.state, coalesce(g.why, '') AS why, g.noticed_at,
			g.changed_at, g.before_at, g.after_at,
			coalesce((SELECT r.ts FROM reading r WHERE r.stream_id = g.stream_id AND r.boot = g.boot
				AND r.seq < g.from_seq ORDER BY r.seq DESC LIMIT 1), g.before_at, g.noticed_at) AS begins,
			coalesce((SELECT r.ts FROM reading r WHERE r.stream_id = g.stream_id AND r.boot = g.boot
				AND r.seq > g.to_seq ORDER BY r.seq LIMIT 1), g.after_at, g.noticed_at) AS ends
			FROM gap g WHERE g.stream_id = ?) AS spans
		WHERE begins < ? AND ends >= ? ORDER BY begins, boot, from_seq LIMIT ?`), id, r.To, r.From, limit)
	return all, err
}

// streamID returns the ID of a stream. If there is none, the error wraps ErrUnknown. It is not
// cached: the query takes microseconds.
func (s *Store) streamID(ctx context.Context, device, stream string) (id int64, err error) {
	err = s.read.QueryRowContext(ctx, s.sql("SELECT s.id FROM stream s JOIN device d ON d.id = s.device_id "+
		"WHERE d.name = ? AND s.name = ?"), device, stream).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("%s/%s %w", device, stream, ErrUnknown)
	}
	return id, err
}

// A StreamInfo is a stream with its newest reading by measurement time. Last.TS is 0 if the
// stream has no reading.
type StreamInfo struct {
	Name string
	Last Row
}

// Streams returns the streams of a device, ordered by name, each with its newest reading.
func (s *Store) Streams(ctx context.Context, device string) (all []StreamInfo, err error) {
	id, err := s.deviceID(ctx, device)
	if err != nil {
		return nil, err
	}
	err = eachRow(ctx, s.read, func(rows *sql.Rows) error {
		// A stream without a reading has NULL in all columns of the join.
		var i StreamInfo
		var ts, at sql.NullInt64
		var late sql.NullBool
		l := &i.Last
		err := rows.Scan(&i.Name, &l.Boot, &l.Seq, &ts, &at, &l.Value, &l.State, &l.Unit, &l.Error, &l.Clock, &late)
		l.Device, l.Stream, l.TS, l.ReceivedAt, l.Historical = device, i.Name, ts.Int64, at.Int64, late.Bool
		all = append(all, i)
		return err
	}, s.sql(`SELECT s.name, r.boot, r.seq, r.ts, r.received_at, r.value, r.state, r.unit, r.error, r.clock, r.historical
		FROM stream s LEFT JOIN reading r ON r.stream_id = s.id
			AND r.ts = (SELECT max(ts) FROM reading WHERE stream_id = s.id)
		WHERE s.device_id = ? ORDER BY s.name, r.boot, r.seq`), id)
	// Several readings may have the newest time: keep the last one of each stream.
	last := all[:0] // filtered in place
	for i, one := range all {
		if i+1 == len(all) || all[i+1].Name != one.Name {
			last = append(last, one)
		}
	}
	return last, err
}

// Counters returns how many messages were stored, quarantined and so on, by name. The names
// are listed at Result.
func (s *Store) Counters(ctx context.Context) (map[string]int64, error) {
	// The horizon is stored in the same table, but is not a count.
	all := map[string]int64{}
	err := eachRow(ctx, s.read, func(rows *sql.Rows) error {
		var name string
		var n int64
		err := rows.Scan(&name, &n)
		all[name] = n
		return err
	}, "SELECT name, value FROM counter WHERE name <> 'horizon'")
	return all, err
}
