package store

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// openPostgres opens a database by its URL. A password comes from ~/.pgpass or PGPASSWORD.
func (s *Store) openPostgres(address string) error {
	s.dialect = dialect{name: "postgres", goose: goose.DialectPostgres, numbered: true, lockRows: " FOR UPDATE",
		// LOCK TABLE also works while the row of the horizon does not exist. Readers such as
		// pg_dump neither wait for it nor block it.
		lockHorizon: " FOR KEY SHARE", blockCommits: "LOCK TABLE counter IN EXCLUSIVE MODE"}
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(makeDurable))
	// One for Commit; the others for commands, pages and rollups.
	db.SetMaxOpenConns(5)
	db.SetMaxIdleConns(2)
	// Readers do not block writers in PostgreSQL, so one pool is enough.
	s.db, s.read = db, db
	return nil
}

// makeDurable makes COMMIT wait until the data is on disk, because we acknowledge messages
// after it. A server or a database may have synchronous_commit off; stricter values stay.
func makeDurable(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) "+
		"WHERE current_setting('synchronous_commit') = 'off'")
	return err
}

// checkEncoding returns an error if the database cannot store every character: it would reject
// a batch with such a character for ever, and block all later ones. SQL_ASCII stores any bytes.
func (s *Store) checkEncoding(ctx context.Context) error {
	var encoding string
	if err := s.db.QueryRowContext(ctx, "SHOW server_encoding").Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" && encoding != "SQL_ASCII" {
		return fmt.Errorf("its encoding is %s, which does not have all characters: make another one with "+
			"createdb -T template0 -E UTF8 NAME", encoding)
	}
	return nil
}

// pointer returns nil for the zero value, which is NULL as an element of an array.
func pointer[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// insertArrays inserts all rows of a commit into PostgreSQL, and returns how many were new. It
// needs one statement with an array for each column: the server parses it once, and a batch
// takes one round trip.
func (c *commit) insertArrays() (int, error) {
	n := len(c.rows)
	if n == 0 {
		return 0, nil
	}
	var (
		stream, ts, at                    = make([]int64, n), make([]int64, n), make([]int64, n)
		boot, state, unit, failure, clock = make([]*string, n), make([]*string, n), make([]*string, n),
			make([]*string, n), make([]*string, n)
		seq, value, historical = make([]*int64, n), make([]*float64, n), make([]bool, n)
	)
	for i := range c.rows {
		r := &c.rows[i]
		stream[i], ts[i], at[i], historical[i] = r.stream, r.TS, r.at, r.Historical
		boot[i], state[i], unit[i] = pointer(r.Boot), pointer(r.State), pointer(r.Unit)
		failure[i], clock[i], seq[i] = pointer(r.Error), pointer(string(r.Clock)), pointer(r.Seq)
		if !math.IsNaN(r.Value) { // 0 is a value
			value[i] = &r.Value
		}
	}
	inserted, err := c.exec("INSERT INTO reading ("+columns+") SELECT * FROM unnest(CAST(? AS BIGINT[]), "+
		"CAST(? AS TEXT[]), CAST(? AS BIGINT[]), CAST(? AS BIGINT[]), CAST(? AS BIGINT[]), "+
		"CAST(? AS DOUBLE PRECISION[]), CAST(? AS TEXT[]), CAST(? AS TEXT[]), CAST(? AS TEXT[]), CAST(? AS TEXT[]), "+
		"CAST(? AS BOOLEAN[])) ON CONFLICT DO NOTHING",
		stream, boot, seq, ts, at, value, state, unit, failure, clock, historical)
	return int(inserted), err
}
