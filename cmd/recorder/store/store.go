// Package store keeps what the recorder receives: readings, what is missing of them,
// events and what devices say of themselves, in SQLite or PostgreSQL.
//
// The SQL is the same for both but for the tables' types; see migrations. All times
// are Unix milliseconds.
//
// # Concurrency
//
// Commit may be called by one goroutine at a time, everything else by any. Several
// processes may use one PostgreSQL database: each transaction locks the sequences
// that it changes. One SQLite file has one recorder; commands may read and change it
// beside that.
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

// Options are what a store is told by the configuration.
type Options struct {
	Database      string // "sqlite:PATH", or the URL of a PostgreSQL database
	Unknown       string // of a device that is not registered: "accept", "refuse" or "quarantine"
	MaxQuarantine int    // rows of the table quarantine at most
}

// A Store is an open database. Its fields do not change after Open, but for those of
// Commit.
type Store struct {
	options Options
	dialect
	db   *sql.DB // writes; of SQLite one connection, so that writers take turns
	read *sql.DB // reads; of PostgreSQL the same as db

	// Of Commit and Connected alone, which one goroutine calls in turn.
	session session

	// Of Commit alone. They have nothing that was not committed.
	devices map[string]int64    // by name; -1: unknown and not to be registered, for one commit
	streams map[streamKey]int64 // by device and name
	inserts map[int]*sql.Stmt   // of that many readings
}

// A session is what is known of the latest connection to the broker. First comes what the
// broker had in its queue for us, published before the connection was made. A broker that
// was killed has lost what it accepted after that, and agents connect to it again.
type session struct {
	at            int64           // when it began; 0: there was none
	queueEnd      int64           // when the last message of the queue may have come
	queueEndKnown bool            // queued is known: the retained messages, which come behind the queue, are there
	online        map[int64]int64 // when each device said "online" last: it has connected before that
}

// assumedQueue is how long the queue takes where no retained message shows its end: in a
// group that shares a subscription, from NATS, and from agents with mqtt.retain: false.
const assumedQueue = 30_000 // milliseconds

// ends notes a retained message. The last one counts: some of an earlier connection may
// have been in the queue themselves.
func (s *session) queueEnded(at int64) { s.queueEnd, s.queueEndKnown = at, true }

// A streamKey names a stream.
type streamKey struct {
	device int64
	name   string
}

// A dialect is what differs between the databases.
type dialect struct {
	name         string // of the folder of migrations
	goose        goose.Dialect
	numbered     bool   // placeholders are $1, $2, ...
	lockRows     string // behind a SELECT: locks the rows until the end of the transaction
	lockHorizon  string // behind the SELECT of the horizon, with which a Commit begins: alone waits for it
	blockCommits string // waits until no Commit is under way, and lets none begin; empty: a transaction is alone
}

// maxCached bounds the maps of names: a publisher may invent any number of them.
const maxCached = 50_000

// Open opens a database, creates it if it is a file that is not there, and brings
// its tables to this version. The error names what to change. The caller closes it.
func Open(ctx context.Context, o Options) (*Store, error) { return openMigrated(ctx, o, true) }

// OpenExisting is Open without creating a file: for commands that look into one.
func OpenExisting(ctx context.Context, o Options) (*Store, error) { return openMigrated(ctx, o, false) }

// openMigrated opens a database with the tables of this version.
func openMigrated(ctx context.Context, o Options, create bool) (*Store, error) {
	s, err := open(ctx, o, create)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("the tables of %s: %w", o.Database, err)
	}
	return s, nil
}

// open opens a database as it is. create: a SQLite file that is not there is made.
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
		// The drivers open nothing before the first use, so a mistake would show up late.
		err = s.db.PingContext(ctx)
	}
	if err == nil && s.numbered {
		err = s.checkEncoding(ctx)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("the database %s cannot be opened: %w", o.Database, err)
	}
	return s, nil
}

// migrate applies the migrations that the database has not. A database of a later
// version is refused.
func (s *Store) migrate(ctx context.Context) error {
	// The provider has no global state, unlike the functions of the package.
	files, err := fs.Sub(migrations, "migrations/"+s.dialect.name)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(s.goose, s.db, files)
	if err != nil {
		return err
	}
	// goose itself would leave a later database alone without a word.
	current, target, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case current > target:
		return fmt.Errorf("they are of version %d, and this program knows %d: install a later one", current, target)
	case current == target:
		return nil
	}
	// Each migration is a transaction: one that fails leaves the version before it.
	_, err = p.Up(ctx)
	return err
}

// Close closes the database.
func (s *Store) Close() error {
	var failed error
	// Readers first: they may hold the WAL back from being merged.
	if s.read != nil && s.read != s.db {
		failed = s.read.Close()
	}
	if s.db != nil {
		failed = errors.Join(failed, s.db.Close())
	}
	return failed
}

// forget empties what Commit remembers: a transaction that failed may have added to
// it. All of it is looked up again.
func (s *Store) clearCache() {
	s.devices, s.streams = map[string]int64{}, map[streamKey]int64{}
}

// sql rewrites the placeholders ? of a statement for the dialect. No statement of
// this package has a ? in a text.
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

// A transaction is one *sql.Tx with the placeholders of the dialect.
type transaction struct {
	*sql.Tx
	dialect
	ctx context.Context
}

// begin begins a transaction that writes. In SQLite it takes the lock of the file at
// once: a transaction that reads first and writes then could be refused half-way.
func (s *Store) begin(ctx context.Context) (transaction, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	return transaction{tx, s.dialect, ctx}, err
}

// exec runs a statement, and returns how many rows it changed. After an error the
// transaction can only be rolled back: PostgreSQL refuses everything else.
func (t transaction) exec(text string, args ...any) (int64, error) {
	r, err := t.ExecContext(t.ctx, t.sql(text), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// manyRows is how many rows one statement has at most.
const maxRows = 64

// many runs a statement for many rows: before, the placeholders of each row, after.
// Each row has as many arguments as row has ?. One statement for all of them saves
// the way to a server for each.
func (t transaction) execRows(before, row, after string, args []any) error {
	width := strings.Count(row, "?")
	for len(args) > 0 {
		// The last statement has what is left, and is another text: both are prepared once.
		n := min(len(args)/width, maxRows)
		if _, err := t.exec(before+row+strings.Repeat(", "+row, n-1)+after, args[:n*width]...); err != nil {
			return err
		}
		args = args[n*width:]
	}
	return nil
}

// scan reads the one row of a query. The error is sql.ErrNoRows if there is none.
func (t transaction) scan(query string, args []any, into ...any) error {
	return t.QueryRowContext(t.ctx, t.sql(query), args...).Scan(into...)
}

// each calls do for each row of a query, which scans it. It ends with the first error
// of do, and returns it.
func eachRow(ctx context.Context, q interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, do func(*sql.Rows) error, query string, args ...any) error {
	// A connection has one query at a time: do must not begin another on a transaction.
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
