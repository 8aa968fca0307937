package store

import (
	"database/sql"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"
)

// openPostgres opens a database by its URL. A password comes from ~/.pgpass or
// PGPASSWORD. COMMIT is durable unless the server's synchronous_commit is off.
func (s *Store) openPostgres(address string) error {
	s.dialect = dialect{name: "postgres", goose: goose.DialectPostgres, numbered: true, lock: " FOR UPDATE"}
	db, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	// One writes; the others are for commands, pages and rollups.
	db.SetMaxOpenConns(5)
	db.SetMaxIdleConns(2)
	// Readers do not block a writer there, so one pool is enough.
	s.db, s.read = db, db
	return nil
}
