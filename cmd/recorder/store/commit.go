package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
)

// An Item is one received message.
type Item struct {
	At      int64             // when it was received
	Message any               // as [message.Decode] returns it; nil if Bad is set
	Bad     *message.BadError // why it cannot be stored
	// The broker sent it because of our subscription, after its queue for us.
	Retained bool

	// The message as it arrived, for the quarantine.
	Topic   string
	Payload []byte // at least the first KiB
	Size    int    // bytes of the payload
}

// keptPayload is the maximum number of bytes of a payload, topic or detail in the quarantine:
// enough for a person to recognise the message.
const keptPayload = 1024

// A Result counts the messages of a commit by outcome. The table counter has the sums of all
// commits under the same names.
type Result struct {
	Stored      int // readings
	Duplicates  int // second copies of readings and events
	Improved    int // duplicates whose ts replaced a stored one, because their clock was better
	Events      int
	Quarantined int
	Refused     int // from unknown devices
}

// A commit is the transaction of one batch. Only the goroutine that called Commit uses it.
// Only the caches of Store outlive the transaction.
type commit struct {
	transaction
	s           *Store
	now         int64 // when the last message of the batch arrived
	horizon     int64 // Retain has deleted the readings before it
	sequences   map[sequenceKey]*sequence
	rows        []row // readings that are new
	maybeCopies []row // readings that may be there: compared after rows are inserted
	hours       map[hourKey]bool
	Result
}

// A row is one row of the table reading, before it is inserted. Only the first copy of a
// reading is inserted.
type row struct {
	stream int64
	at     int64 // when it was received
	message.Reading
}

// Commit stores a batch in one transaction. If it returns no error, the batch is durable.
// After an error nothing of the batch is stored, unless the connection to the database broke
// during COMMIT: then all of it may be stored. The caller can commit the same batch again:
// stored readings and events are recognised by their keys; only readings without a key would
// be stored twice.
func (s *Store) Commit(ctx context.Context, batch []Item) (Result, error) {
	// Before the transaction, which holds the only connection to SQLite.
	if err := s.prepare(ctx); err != nil {
		return Result{}, err
	}
	tx, err := s.begin(ctx)
	if err != nil {
		return Result{}, err
	}
	// Sequences are cached for one transaction only: another recorder may change them.
	c := &commit{transaction: tx, s: s, sequences: map[sequenceKey]*sequence{}, hours: map[hourKey]bool{}}
	err = c.readHorizon()
	if err == nil {
		err = c.store(batch)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		tx.Rollback() // err is the cause; an error of Rollback adds nothing
		s.clearCache()
		return Result{}, err
	}
	// Unknown names are cached for one batch only.
	for name, id := range s.devices {
		if id < 0 { // somebody may register it before the next batch
			delete(s.devices, name)
		}
	}
	if len(s.devices)+len(s.streams) > maxCached {
		s.clearCache()
	}
	return c.Result, nil
}

// readHorizon reads the horizon and locks it until the transaction ends: another process may
// have moved it since the last commit.
func (c *commit) readHorizon() error {
	err := c.scan("SELECT value FROM counter WHERE name = 'horizon'"+c.lockHorizon, nil, &c.horizon)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// store writes a batch within the transaction. The steps after the loop depend on their
// order: second copies are compared with readings that were inserted before them, and both
// steps change hours and sequences.
func (c *commit) store(batch []Item) error {
	if err := c.preload(batch); err != nil {
		return err
	}
	for i := range batch {
		c.now = max(c.now, batch[i].At)
		if err := c.item(&batch[i]); err != nil {
			return err
		}
	}
	// Readings first: improveTime and the rollups read them. Counters last: each step counts.
	for _, step := range []func() error{
		c.insertReadings, c.storeMaybeCopies, c.saveSequences, c.markHours, c.trimQuarantine, c.saveCounters,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// item stores one message, or appends its reading to rows or maybeCopies. Messages must be
// passed in the order of arrival: the detection of gaps depends on it.
func (c *commit) item(it *Item) error {
	if it.Retained {
		c.s.session.queueEnded(it.At)
	}
	// A bad message may not even name a device.
	if it.Bad != nil {
		return c.quarantine(it, it.Bad.Reason, it.Bad.Text)
	}
	// Only readings are frequent enough for statements with many rows.
	switch m := it.Message.(type) {
	case message.Reading:
		return c.reading(it, m)
	case message.Event:
		return c.withDevice(it, m.Device, func(id int64) error { return c.event(it, id, m) })
	case message.Birth:
		return c.withDevice(it, m.Device, func(id int64) error { return c.birth(it, id, m) })
	case message.Presence:
		return c.withDevice(it, m.Device, func(id int64) error { return c.presence(it, id, m) })
	case message.Health:
		return c.withDevice(it, m.Device, func(id int64) error { return c.health(id, m) })
	case message.Drops:
		// A batch may be committed twice if the outcome of the first commit was not known.
		_, err := c.exec("INSERT INTO broker_drop (at, total, since, count) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
			it.At, m.Total, m.Since, m.Count)
		return err
	}
	return nil // message.Ignored
}

// withDevice calls do with the ID of a device. It refuses or quarantines the message of a
// device that is not registered, as Options.Unknown says.
func (c *commit) withDevice(it *Item, device string, do func(id int64) error) error {
	// device caches the ID: each device costs one query.
	id, err := c.device(device, it.At)
	switch {
	case err != nil:
		return err
	case id >= 0:
		return do(id)
	case c.s.options.Unknown == "quarantine":
		return c.quarantine(it, "unknown", "the device is not registered")
	}
	c.Refused++
	return nil
}

// device returns the ID of a device, and registers it if the configuration allows that. It
// returns -1 for an unknown device. at is when the message arrived.
func (c *commit) device(name string, at int64) (int64, error) {
	if id, ok := c.s.devices[name]; ok {
		return id, nil
	}
	// Another recorder may register it at the same time: then one of them inserts the row, and
	// both read the same ID.
	if c.s.options.Unknown == "accept" {
		_, err := c.exec("INSERT INTO device (name, first_seen) VALUES (?, ?) ON CONFLICT DO NOTHING", name, at)
		if err != nil {
			return 0, err
		}
	}
	// Even if nothing was inserted: another recorder or a person may have registered it.
	id := int64(-1)
	err := c.scan("SELECT id FROM device WHERE name = ?", []any{name}, &id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	c.s.devices[name] = id
	return id, nil
}

// stream returns the ID of a stream. It registers a new one without a check, because its
// device is known.
func (c *commit) stream(device int64, name string) (int64, error) {
	key := streamKey{device, name}
	if id, ok := c.s.streams[key]; ok {
		return id, nil
	}
	_, err := c.exec("INSERT INTO stream (device_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING", device, name)
	if err != nil {
		return 0, err
	}
	var id int64
	if err := c.scan("SELECT id FROM stream WHERE device_id = ? AND name = ?", []any{device, name}, &id); err != nil {
		return 0, err
	}
	// After a rollback Commit clears the cache.
	c.s.streams[key] = id
	return id, nil
}

// reading appends a reading to rows if its sequence number shows that it is new, and to
// maybeCopies otherwise.
func (c *commit) reading(it *Item, r message.Reading) error {
	if r.Boot == "" && r.Retained {
		return nil // the retained value of another publisher has an unknown age; the next one has not
	}
	return c.withDevice(it, r.Device, func(device int64) error {
		id, err := c.stream(device, r.Stream)
		if err != nil {
			return err
		}
		// A payload without a time gets its time of arrival.
		if r.TS == message.NoTime {
			r.TS = it.At
		}
		// The row copies the reading, because the batch belongs to the caller.
		one := row{id, it.At, r}
		if r.Boot == "" {
			c.rows = append(c.rows, one)
			return nil
		}
		// A number above the highest one, or in a hole, cannot be in the table yet.
		q, err := c.sequence(id, r.Boot)
		if err != nil {
			return err
		}
		q.device = device
		isNew, err := c.arrived(q, r.Seq, it.At)
		if isNew {
			c.rows = append(c.rows, one)
		} else {
			c.maybeCopies = append(c.maybeCopies, one)
		}
		return err
	})
}

// columns are the columns of the table reading, in the order of row.args.
const columns = "stream_id, boot, seq, ts, received_at, value, state, unit, error, clock, historical"

// args appends the values of the columns to a list.
func (r *row) args(to []any) []any {
	return append(to, r.stream, nullText(r.Boot), nullNumber(r.Seq), r.TS, r.at, nullValue(r.Value), nullText(r.State),
		nullText(r.Unit), nullText(r.Error), nullText(string(r.Clock)), r.Historical)
}

// nullText returns NULL for an empty text, so that users can query "error IS NOT NULL".
func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// nullNumber returns NULL for 0: sequence numbers begin at 1. A unique index treats NULLs as
// different, so readings without a key are never second copies.
func nullNumber(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

// nullValue returns NULL for NaN, which means that there is no value.
func nullValue(v float64) any {
	if math.IsNaN(v) {
		return nil
	}
	return v
}

// chunkSizes are the numbers of readings that one statement inserts. A statement has at most
// 32,766 parameters in SQLite.
var chunkSizes = [...]int{512, 64, 8, 1}

// insertReadings inserts the new readings, many rows with one statement. By their numbers
// they are not in the table; the unique index makes sure of it.
func (c *commit) insertReadings() error {
	insert := c.insertChunks
	if c.numbered {
		insert = c.insertArrays
	}
	// Fewer inserted rows are not an error: the batch may have been committed before, with an
	// unknown outcome.
	n, err := insert()
	if err != nil {
		return err
	}
	c.Stored += n
	c.Duplicates += len(c.rows) - n
	// Also the hours of rows that were in the table already: computing one again is harmless.
	for i := range c.rows {
		c.noteHour(c.rows[i].stream, c.rows[i].TS)
	}
	return c.mergeBeforeHorizon()
}

// insertChunks inserts all rows of a commit into SQLite with prepared statements, and returns
// how many were new.
func (c *commit) insertChunks() (inserted int, err error) {
	// As many rows as possible with the longest statement, the rest with shorter ones.
	rows := c.rows
	args := make([]any, 0, chunkSizes[0]*strings.Count(columns, ",")+chunkSizes[0])
	for _, size := range chunkSizes {
		for len(rows) >= size {
			args = args[:0]
			for i := range rows[:size] {
				args = rows[i].args(args)
			}
			result, err := c.StmtContext(c.ctx, c.s.inserts[size]).ExecContext(c.ctx, args...)
			if err != nil {
				return 0, err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return 0, err
			}
			inserted += int(n)
			rows = rows[size:]
		}
	}
	return inserted, nil
}

// prepare prepares the statements of insertChunks at its first call. PostgreSQL needs none.
func (s *Store) prepare(ctx context.Context) error {
	if s.numbered {
		return nil
	}
	one := "(?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")"
	for _, size := range chunkSizes {
		if s.inserts[size] != nil {
			continue
		}
		stmt, err := s.db.PrepareContext(ctx, s.sql("INSERT INTO reading ("+columns+") VALUES "+
			one+strings.Repeat(", "+one, size-1)+" ON CONFLICT DO NOTHING"))
		if err != nil {
			return err
		}
		s.inserts[size] = stmt
	}
	return nil
}

// storeMaybeCopies handles readings whose number is not above the highest one and in no hole.
// Most are second copies: they only replace a ts of a worse clock. The others are readings
// that the agent had declared lost.
func (c *commit) storeMaybeCopies() error {
	// One query each: second copies are rare, they follow a lost acknowledgement.
	for i := range c.maybeCopies {
		r := &c.maybeCopies[i]
		var ts int64
		var clock sql.NullString
		// If the first copy is in the same batch, insertReadings has inserted it.
		err := c.scan("SELECT ts, clock FROM reading WHERE stream_id = ? AND boot = ? AND seq = ?",
			[]any{r.stream, r.Boot, r.Seq}, &ts, &clock)
		switch {
		case errors.Is(err, sql.ErrNoRows) && r.TS >= c.horizon:
			_, err = c.exec("INSERT INTO reading ("+columns+") VALUES (?"+
				strings.Repeat(", ?", strings.Count(columns, ","))+") ON CONFLICT DO NOTHING", r.args(nil)...)
			c.Stored++
			c.noteHour(r.stream, r.TS)
		case errors.Is(err, sql.ErrNoRows):
			c.Duplicates++ // Retain has deleted the first copy
			err = nil
		case err == nil:
			c.Duplicates++
			err = c.improveTime(r, ts, message.Confidence(clock.String))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// improveTime replaces the time of a stored reading if the second copy has a better one: an
// agent whose clock was not set sends its readings again when it knows the time. ts and clock
// are the stored ones. Value and state are the same in both copies.
func (c *commit) improveTime(r *row, ts int64, clock message.Confidence) error {
	if !r.Clock.Better(clock) {
		return nil
	}
	c.Improved++
	// The reading may move from one hour to another.
	c.noteHour(r.stream, ts)
	c.noteHour(r.stream, r.TS)
	_, err := c.exec("UPDATE reading SET ts = ?, clock = ? WHERE stream_id = ? AND boot = ? AND seq = ?",
		r.TS, nullText(string(r.Clock)), r.stream, r.Boot, r.Seq)
	return err
}

// quarantine keeps a message that cannot be stored, with the reason. It is acknowledged with
// the batch: otherwise the broker would send it again for ever.
func (c *commit) quarantine(it *Item, reason, detail string) error {
	c.Quarantined++
	payload := it.Payload[:min(len(it.Payload), keptPayload)]
	if payload == nil {
		payload = []byte{} // the column is NOT NULL
	}
	// PostgreSQL accepts neither invalid UTF-8 nor U+0000 in a text. Both texts are cut like
	// the payload: a topic may have 65,535 bytes, and a detail may quote the payload.
	storable := func(text string) string {
		text = strings.ToValidUTF8(text[:min(len(text), keptPayload)], "\uFFFD")
		return strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	_, err := c.exec("INSERT INTO quarantine (received_at, topic, reason, detail, size, payload) "+
		"VALUES (?, ?, ?, ?, ?, ?)", it.At, storable(it.Topic), reason, storable(detail), it.Size, payload)
	return err
}

// trimQuarantine deletes the oldest rows above the limit, so that invalid messages cannot
// fill the disk. The counter keeps the number of all of them.
func (c *commit) trimQuarantine() error {
	if c.Quarantined == 0 {
		return nil
	}
	// Failed transactions leave gaps in the IDs, so a few rows fewer may be left.
	_, err := c.exec("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?",
		c.s.options.MaxQuarantine)
	return err
}

// saveCounters adds the result to the table counter. The same transaction keeps the sums
// exact even if the recorder or the database is killed.
func (c *commit) saveCounters() error {
	// Always in the same order: otherwise two recorders could deadlock.
	for _, counter := range []struct {
		name string
		n    int
	}{
		{"duplicates", c.Duplicates}, {"events", c.Events}, {"improved", c.Improved},
		{"quarantined", c.Quarantined}, {"refused", c.Refused}, {"stored", c.Stored},
	} {
		if counter.n == 0 {
			continue
		}
		_, err := c.exec("INSERT INTO counter (name, value) VALUES (?, ?) "+
			"ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value", counter.name, counter.n)
		if err != nil {
			return err
		}
	}
	return nil
}

// A Connection is a connection that the broker accepted.
type Connection struct {
	At      time.Time
	Fresh   bool // the broker had no session for us: what was published before is lost
	Started bool // it is the first connection since the recorder started
}

// Connected stores a connection, which Verify needs to explain gaps.
func (s *Store) Connected(ctx context.Context, c Connection) error {
	_, err := s.db.ExecContext(ctx, s.sql("INSERT INTO connection (at, fresh, started) VALUES (?, ?, ?)"),
		c.At.UnixMilli(), c.Fresh, c.Started)
	at := c.At.UnixMilli()
	s.session = session{at: at, queueEnd: at + assumedQueue, online: map[int64]int64{}}
	return err
}
