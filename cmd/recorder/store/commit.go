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
	// The broker sent it because of our subscription: behind what it had in its queue for us.
	Retained bool

	// Of the message as it came, for the quarantine.
	Topic   string
	Payload []byte // at least the first KiB
	Size    int    // bytes of the payload
}

// keptPayload is how many bytes of a payload, a topic and a detail the quarantine keeps: enough for
// a person to see what it was.
const keptPayload = 1024

// A Result counts what became of the messages of a commit. The table counter has the
// sums of all commits under the same names.
type Result struct {
	Stored      int // readings
	Duplicates  int // second copies of readings and events
	Improved    int // of these, ts was replaced by one of a better clock
	Events      int
	Quarantined int
	Refused     int // of unknown devices
}

// A commit is one transaction with a batch. It belongs to the goroutine that called
// Commit, and nothing of it outlives the transaction but what Store remembers.
type commit struct {
	transaction
	s           *Store
	now         int64 // when the last message of the batch arrived
	horizon     int64 // readings before it are not in the table any more
	sequences   map[sequenceKey]*sequence
	rows        []row // readings that are new
	maybeCopies []row // readings that may be there: compared after rows are inserted
	hours       map[hourKey]bool
	Result
}

// A row is one row of the table reading, before it is inserted. received_at is that of
// the first copy, which is the one that is inserted.
type row struct {
	stream int64
	at     int64
	message.Reading
}

// Commit stores a batch in one transaction. After it returned without an error, the
// batch is durable. After an error nothing of it is stored, or all if the connection
// to the database broke in COMMIT: then it may be stored again without harm, but for
// readings without a key.
func (s *Store) Commit(ctx context.Context, batch []Item) (Result, error) {
	// Before the transaction: it has the only connection to SQLite.
	if err := s.prepare(ctx); err != nil {
		return Result{}, err
	}
	tx, err := s.begin(ctx)
	if err != nil {
		return Result{}, err
	}
	// What is known of sequences lives for one transaction: another recorder may change them.
	c := &commit{transaction: tx, s: s, sequences: map[sequenceKey]*sequence{}, hours: map[hourKey]bool{}}
	err = c.readHorizon()
	if err == nil {
		err = c.store(batch)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		tx.Rollback() // its error says nothing more
		s.clearCache()
		return Result{}, err
	}
	// Unknown names are remembered for one batch only.
	for name, id := range s.devices {
		if id < 0 { // a person may register it meanwhile
			delete(s.devices, name)
		}
	}
	if len(s.devices)+len(s.streams) > maxCached {
		s.clearCache()
	}
	return c.Result, nil
}

// readHorizon reads the horizon, which stays where it is until the end of the transaction:
// another process may have moved it since the last commit.
func (c *commit) readHorizon() error {
	err := c.scan("SELECT value FROM counter WHERE name = 'horizon'"+c.lockHorizon, nil, &c.horizon)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// store is Commit without the begin and the end of the transaction. The steps after the messages
// rely on their order: later copies are compared with what was inserted before, and
// all of them touch hours and sequences.
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
	// Readings first, as improve and the rollups look at them; counters last, as all count.
	for _, step := range []func() error{
		c.insertReadings, c.storeMaybeCopies, c.saveSequences, c.markHours, c.trimQuarantine, c.saveCounters,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// item stores one message, or puts its reading into rows or later. The order of the
// batch is that of arrival, and gaps rely on it.
func (c *commit) item(it *Item) error {
	if it.Retained {
		c.s.session.queueEnded(it.At)
	}
	// What is bad may have no device that could be known.
	if it.Bad != nil {
		return c.quarantine(it, it.Bad.Reason, it.Bad.Text)
	}
	// Anything but a reading is rare enough for statements of its own.
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
		// A commit whose outcome was not known may be stored again.
		_, err := c.exec("INSERT INTO broker_drop (at, total, since, count) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
			it.At, m.Total, m.Since, m.Count)
		return err
	}
	return nil // message.Ignored
}

// known calls do with the ID of a device, or does with the message what the
// configuration says about unknown ones.
func (c *commit) withDevice(it *Item, device string, do func(id int64) error) error {
	// The answer is cached: a device costs a query once.
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

// device returns the ID of a device, and registers it if the configuration allows
// that. It is -1 for one that stays unknown. at is when it was first heard of.
func (c *commit) device(name string, at int64) (int64, error) {
	if id, ok := c.s.devices[name]; ok {
		return id, nil
	}
	// Another recorder may register it at the same time: then the first one wins, and both
	// read the same ID.
	if c.s.options.Unknown == "accept" {
		_, err := c.exec("INSERT INTO device (name, first_seen) VALUES (?, ?) ON CONFLICT DO NOTHING", name, at)
		if err != nil {
			return 0, err
		}
	}
	// Also where nothing was inserted: somebody else may have registered it.
	id := int64(-1)
	err := c.scan("SELECT id FROM device WHERE name = ?", []any{name}, &id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	c.s.devices[name] = id
	return id, nil
}

// stream returns the ID of a stream, which is registered on first sight: its device
// is known.
func (c *commit) stream(device int64, name string) (int64, error) {
	key := streamKey{device, name}
	if id, ok := c.s.streams[key]; ok {
		return id, nil
	}
	// The device is accepted, and so are all of its streams.
	_, err := c.exec("INSERT INTO stream (device_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING", device, name)
	if err != nil {
		return 0, err
	}
	var id int64
	if err := c.scan("SELECT id FROM stream WHERE device_id = ? AND name = ?", []any{device, name}, &id); err != nil {
		return 0, err
	}
	// A rollback forgets it: see Commit.
	c.s.streams[key] = id
	return id, nil
}

// reading decides by its number whether a reading is new.
func (c *commit) reading(it *Item, r message.Reading) error {
	if r.Boot == "" && r.Retained {
		return nil // the last value of another publisher, of unknown age; its next one is a reading
	}
	return c.withDevice(it, r.Device, func(device int64) error {
		id, err := c.stream(device, r.Stream)
		if err != nil {
			return err
		}
		// Of a publisher without a clock the time of arrival is the best that is known.
		if r.TS == message.NoTime {
			r.TS = it.At
		}
		// The row has a copy of the reading: batch belongs to the caller.
		one := row{id, it.At, r}
		if r.Boot == "" {
			c.rows = append(c.rows, one)
			return nil
		}
		// A number beyond the highest, or in a hole, cannot be in the table yet.
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

// columns are those of the table reading, in the order of row.args. Users query them by
// name, so their order in the table does not matter to anybody.
const columns = "stream_id, boot, seq, ts, received_at, value, state, unit, error, clock, historical"

// args are the values of the columns.
func (r *row) args(to []any) []any {
	return append(to, r.stream, nullText(r.Boot), nullNumber(r.Seq), r.TS, r.at, nullValue(r.Value), nullText(r.State),
		nullText(r.Unit), nullText(r.Error), nullText(string(r.Clock)), r.Historical)
}

// text is NULL for an empty one: a query for what has an error is "error IS NOT NULL".
func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// number is NULL for 0, which is no number that an agent gives. In a unique index
// NULLs differ from each other, so readings without a key never are second copies.
func nullNumber(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

// value is NULL for NaN, which stands for a value that there is not.
func nullValue(v float64) any {
	if math.IsNaN(v) {
		return nil
	}
	return v
}

// chunks are the numbers of readings that one statement inserts. A statement has a
// limit on its parameters: 32,766 in SQLite, 65,535 in PostgreSQL.
var chunkSizes = [...]int{512, 64, 8, 1}

// insertReadings inserts what is new, many rows with one statement. By their numbers
// they cannot be there yet; the unique index is the last word.
func (c *commit) insertReadings() error {
	insert := c.insertChunks
	if c.numbered {
		insert = c.insertArrays
	}
	// Fewer rows than were given are no error: a commit whose outcome was not known may be
	// stored again.
	n, err := insert()
	if err != nil {
		return err
	}
	c.Stored += n
	c.Duplicates += len(c.rows) - n
	// Also hours of rows that were there already: computing one again is harmless.
	for i := range c.rows {
		c.noteHour(c.rows[i].stream, c.rows[i].TS)
	}
	return c.mergeBeforeHorizon()
}

// insertChunks inserts all rows with the statements that are prepared for many, and
// returns how many are new: SQLite's way.
func (c *commit) insertChunks() (inserted int, err error) {
	// As many as possible with the longest statement, the rest with shorter ones.
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

// prepare prepares the statements of insertChunks, once.
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

// compareLater handles readings whose number has been passed: most are second
// copies, which change nothing but a ts with a worse clock. The others are readings
// that the agent has declared lost.
func (c *commit) storeMaybeCopies() error {
	// One query each: second copies come after a lost acknowledgement, and that is rare.
	for i := range c.maybeCopies {
		r := &c.maybeCopies[i]
		var ts int64
		var clock sql.NullString
		// Of one batch the first copy has been inserted by now.
		err := c.scan("SELECT ts, clock FROM reading WHERE stream_id = ? AND boot = ? AND seq = ?",
			[]any{r.stream, r.Boot, r.Seq}, &ts, &clock)
		switch {
		case errors.Is(err, sql.ErrNoRows) && r.TS >= c.horizon:
			_, err = c.exec("INSERT INTO reading ("+columns+") VALUES (?"+
				strings.Repeat(", ?", strings.Count(columns, ","))+") ON CONFLICT DO NOTHING", r.args(nil)...)
			c.Stored++
			c.noteHour(r.stream, r.TS)
		case errors.Is(err, sql.ErrNoRows):
			c.Duplicates++ // retain has deleted the first copy
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

// improve replaces the time of a stored reading if that of a second copy is better: an
// agent without a clock sends what it has, and sends it again once it knows more. ts
// and clock are those that are stored. Value and state are of the same measurement.
func (c *commit) improveTime(r *row, ts int64, clock message.Confidence) error {
	if !r.Clock.Better(clock) {
		return nil
	}
	c.Improved++
	// It leaves one hour, and comes into another.
	c.noteHour(r.stream, ts)
	c.noteHour(r.stream, r.TS)
	_, err := c.exec("UPDATE reading SET ts = ?, clock = ? WHERE stream_id = ? AND boot = ? AND seq = ?",
		r.TS, nullText(string(r.Clock)), r.stream, r.Boot, r.Seq)
	return err
}

// quarantine keeps a message that cannot be stored, with the reason. It is acknowledged
// with the batch: one that never is would stop the broker's queue for us.
func (c *commit) quarantine(it *Item, reason, detail string) error {
	c.Quarantined++
	// PostgreSQL takes neither invalid UTF-8 nor the character 0 in a text.
	payload := it.Payload[:min(len(it.Payload), keptPayload)]
	if payload == nil {
		payload = []byte{}
	}
	// A topic may be anything that MQTT allows, and that is more than a database does. Both texts
	// are cut as the payload is: a topic may have 65,535 bytes, and a detail repeat a number.
	storable := func(text string) string {
		text = strings.ToValidUTF8(text[:min(len(text), keptPayload)], "\uFFFD")
		return strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	_, err := c.exec("INSERT INTO quarantine (received_at, topic, reason, detail, size, payload) "+
		"VALUES (?, ?, ?, ?, ?, ?)", it.At, storable(it.Topic), reason, storable(detail), it.Size, payload)
	return err
}

// trimQuarantine deletes the oldest rows beyond the limit, so that a publisher of
// nonsense cannot fill the disk. The counter keeps the number of all.
func (c *commit) trimQuarantine() error {
	if c.Quarantined == 0 {
		return nil
	}
	// IDs grow by one, but for transactions that failed: so it may be a few rows less.
	_, err := c.exec("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?",
		c.s.options.MaxQuarantine)
	return err
}

// saveCounters adds the result to the table counter, in the same transaction: so the
// sums are exact, whatever is killed.
func (c *commit) saveCounters() error {
	// In one order, so that two recorders never wait for each other.
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

// A Connection is one that the broker has accepted.
type Connection struct {
	At      time.Time
	Fresh   bool // the broker had no session for us: what was published before is lost
	Started bool // it is the first one of this start of the recorder
}

// Connected notes a connection: it explains what is missing.
func (s *Store) Connected(ctx context.Context, c Connection) error {
	_, err := s.db.ExecContext(ctx, s.sql("INSERT INTO connection (at, fresh, started) VALUES (?, ?, ?)"),
		c.At.UnixMilli(), c.Fresh, c.Started)
	at := c.At.UnixMilli()
	s.session = session{at: at, queueEnd: at + assumedQueue, online: map[int64]int64{}}
	return err
}
