// Package store keeps what the recorder receives in SQLite or PostgreSQL: readings, gaps
// in their sequence numbers, events, and the latest status of each device.
//
// Both databases get the same SQL; only the types of the tables differ (see migrations).
// All times are Unix milliseconds.
//
// # Concurrency
//
// Only one goroutine may call Commit and Connected; any goroutine may call the rest.
// Several processes may use one PostgreSQL database: each transaction locks the sequences
// that it changes. A SQLite file has at most one recorder; other commands may read and
// change it at the same time.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// Options come from the configuration.
type Options struct {
	Database      string // "sqlite:PATH", or the URL of a PostgreSQL database
	Unknown       string // messages of devices that are not registered: "accept", "refuse" or "quarantine"
	MaxQuarantine int    // maximum number of rows in the table quarantine
}

// A Store is an open database. Only Commit and Connected change its fields after Open.
type Store struct {
	options Options
	dialect
	db   *sql.DB // writes; SQLite has one such connection, so that writers take turns
	read *sql.DB // reads; for PostgreSQL the same as db

	// Only Commit and Connected use it, from one goroutine.
	session session

	// Caches that only Commit uses. They hold only what was committed.
	devices map[string]int64    // ID by name; -1: unknown and not to be registered, during one commit
	streams map[streamKey]int64 // ID by device and name
	inserts map[int]*sql.Stmt   // prepared INSERT by number of readings
}

// A session describes the latest connection to the broker. The broker sends its queue
// first: messages that were published before we connected. If the broker is killed, it loses
// what it accepted after it last saved, and agents connect to it again.
type session struct {
	at            int64           // when it began; 0: there was none
	queueEnd      int64           // when the last message of the queue may have arrived
	queueEndKnown bool            // retained messages have arrived: the broker sends them after its queue
	online        map[int64]int64 // by device: when its last "online" arrived, which it sends after connecting
}

// assumedQueue is how long we assume that the queue takes if no retained message marks its
// end: in a group that shares a subscription, from NATS, and from agents with
// mqtt.retain: false.
const assumedQueue = 30_000 // milliseconds

// queueEnded records the arrival of a retained message. The last one counts: the queue itself
// may hold retained messages of an earlier connection.
func (s *session) queueEnded(at int64) { s.queueEnd, s.queueEndKnown = at, true }

// A streamKey names a stream.
type streamKey struct {
	device int64
	name   string
}

// A dialect holds what differs between the databases.
type dialect struct {
	name         string // of its folder in migrations
	goose        goose.Dialect
	numbered     bool   // placeholders are $1, $2, ...
	lockRows     string // appended to a SELECT: locks the rows until the transaction ends
	lockHorizon  string // behind the SELECT of the horizon, with which a Commit begins: alone waits for it
	blockCommits string // waits until no Commit is under way, and lets none begin; empty: a transaction is alone
}

// maxCached bounds the caches of names: a publisher can invent any number of them.
const maxCached = 50_000

// Open opens a database and migrates its tables to this version. It creates a SQLite file
// that does not exist. The error says what to change. The caller closes the store.
func Open(ctx context.Context, o Options) (*Store, error) { return openMigrated(ctx, o, true) }

// OpenExisting is like Open, but does not create a file: for commands that read one.
func OpenExisting(ctx context.Context, o Options) (*Store, error) { return openMigrated(ctx, o, false) }

// openMigrated opens a database and migrates it. create: see open.
func openMigrated(ctx context.Context, o Options, create bool) (*Store, error) {
	s, err := open(ctx, o, create)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("the tables of %s: %w", o.Database, withRemedy(err))
	}
	return s, nil
}

// open opens a database without migrating it. create: create a SQLite file that does not exist.
func open(ctx context.Context, o Options, create bool) (*Store, error) {
	s := &Store{options: o, inserts: map[int]*sql.Stmt{}}
	s.clearCache()
	var err error
	if path, isFile := strings.CutPrefix(o.Database, "sqlite:"); isFile {
		err = s.openSQLite(path, create)
	} else {
		// Anything else is a URL: package config has checked it.
		err = s.openPostgres(o.Database)
	}
	if err == nil {
		// Drivers connect at the first use only: Ping reports a wrong address now.
		err = s.db.PingContext(ctx)
	}
	if err == nil && s.numbered {
		err = s.checkEncoding(ctx)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("the database %s cannot be opened: %w", o.Database, withRemedy(err))
	}
	return s, nil
}

// migrate applies the missing migrations. It returns an error for a database of a later
// version.
func (s *Store) migrate(ctx context.Context) error {
	// Unlike the functions of package goose, a provider has no global state.
	files, err := fs.Sub(migrations, "migrations/"+s.dialect.name)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(s.goose, s.db, files)
	if err != nil {
		return err
	}
	// goose itself accepts a database of a later version silently.
	current, target, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case current > target:
		return fmt.Errorf("they are of version %d, and this program knows %d: install a later one", current, target)
	case current == target:
		return nil
	}
	// Each migration is a transaction: if it fails, the database keeps the version before it.
	_, err = p.Up(ctx)
	return err
}

// Close closes the database.
func (s *Store) Close() error {
	var failed error
	// Readers first: an open reader can prevent the checkpoint of the WAL.
	if s.read != nil && s.read != s.db {
		failed = s.read.Close()
	}
	if s.db != nil {
		failed = errors.Join(failed, s.db.Close())
	}
	return failed
}

// clearCache empties the caches of Commit: a failed transaction may have added entries.
// They are looked up again.
func (s *Store) clearCache() {
	s.devices, s.streams = map[string]int64{}, map[streamKey]int64{}
}

// sql rewrites the placeholders ? of a statement for the dialect. No statement of this
// package has a ? in a string literal.
func (d dialect) sql(text string) string {
	// SQLite takes the statement as it is.
	if !d.numbered {
		return text
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(text, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		text = after
	}
}

// A transaction is a *sql.Tx that rewrites placeholders for its dialect.
type transaction struct {
	*sql.Tx
	dialect
	ctx context.Context
}

// begin begins a transaction that writes. In SQLite it locks the file at once: if a
// transaction reads first, its first write can fail with SQLITE_BUSY.
func (s *Store) begin(ctx context.Context) (transaction, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	return transaction{tx, s.dialect, ctx}, err
}

// exec runs a statement and returns the number of rows that it changed. After an error the
// transaction must be rolled back: PostgreSQL refuses everything else.
func (t transaction) exec(text string, args ...any) (int64, error) {
	r, err := t.ExecContext(t.ctx, t.sql(text), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// maxRows is the maximum number of rows in one statement.
const maxRows = 64

// execRows runs a statement for several rows. Its text is before, one copy of row for each
// row, and after. args holds one argument for each ? of each row. One statement for up to
// maxRows rows saves round trips to a server.
func (t transaction) execRows(before, row, after string, args []any) error {
	width := strings.Count(row, "?")
	for len(args) > 0 {
		// The last statement has the remaining rows.
		n := min(len(args)/width, maxRows)
		if _, err := t.exec(before+row+strings.Repeat(", "+row, n-1)+after, args[:n*width]...); err != nil {
			return err
		}
		args = args[n*width:]
	}
	return nil
}

// scan reads the first row of a query. The error is sql.ErrNoRows if there is none.
func (t transaction) scan(query string, args []any, into ...any) error {
	return t.QueryRowContext(t.ctx, t.sql(query), args...).Scan(into...)
}

// eachRow calls do for each row of a query; do scans the row. It stops at the first error of
// do and returns it.
func eachRow(ctx context.Context, q interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, do func(*sql.Rows) error, query string, args ...any) error {
	// A connection runs one query at a time: do must not start another in the same transaction.
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
