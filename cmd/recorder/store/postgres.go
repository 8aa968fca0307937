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
		// The lock of the table counts, with or without a row. Who only reads, such as pg_dump,
		// waits for nobody and holds nobody up.
		lockHorizon: " FOR KEY SHARE", blockCommits: "LOCK TABLE counter IN EXCLUSIVE MODE"}
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(makeDurable))
	// One writes; the others are for commands, pages and rollups.
	db.SetMaxOpenConns(5)
	db.SetMaxIdleConns(2)
	// Readers do not block a writer there, so one pool is enough.
	s.db, s.read = db, db
	return nil
}

// makeDurable makes COMMIT wait until the disk has it, which the acknowledgements rely on. A
// server or a database may say otherwise for all of its clients; what is stricter stays.
func makeDurable(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) "+
		"WHERE current_setting('synchronous_commit') = 'off'")
	return err
}

// checkEncoding refuses a database that cannot store each character: a batch with one that it
// has not would be refused for ever, and all that comes behind it. SQL_ASCII takes any bytes.
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

// pointer is NULL for the zero value, as an element of an array.
func pointer[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// insertArrays inserts all rows with one statement that has an array for each column,
// and returns how many are new. The server parses it once, and a batch is one way to
// it and back.
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
