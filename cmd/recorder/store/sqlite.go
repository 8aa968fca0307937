package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // the driver "sqlite"
)

// openSQLite opens a file. WAL lets commands read while the recorder writes.
// synchronous=FULL makes COMMIT wait until the data is on disk, because we acknowledge
// messages after it. temp_store=MEMORY keeps the statement journal in memory: as a file it
// took a third of the time of a batch.
func (s *Store) openSQLite(path string, create bool) error {
	s.dialect = dialect{name: "sqlite", goose: goose.DialectSQLite3}
	// SQLite itself says only "unable to open database file" for any cause.
	err := accessible(path, create)
	if err != nil {
		return err
	}
	s.db, err = sql.Open("sqlite", sqliteName(path,
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)")+"&_txlock=immediate")
	if err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1) // one writer; a second would only wait for its lock
	// With WAL, readers see the last commit and do not wait for the writer.
	s.read, err = sql.Open("sqlite", sqliteName(path, "query_only(1)"))
	if err != nil {
		return err
	}
	s.read.SetMaxOpenConns(min(4, runtime.NumCPU()))
	s.read.SetMaxIdleConns(1)
	return nil
}

// accessible returns why a SQLite file cannot be used, and what to do about it. It opens no
// file: closing one would release the locks that SQLite has on it in this process.
//
// A command that creates no file may do with the right to read: beside a running recorder
// SQLite lets it read.
func accessible(path string, create bool) error {
	const readOnly, readWrite = 4, 6 // R_OK, and R_OK with W_OK, of access(2)
	mode := uint32(readOnly)
	if create {
		mode = readWrite
	}
	err := syscall.Access(path, mode)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return fmt.Errorf("%w: holdfast-recorder run creates it at its first start", err)
		}
		err = syscall.Access(filepath.Dir(path), readWrite)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: create the folder, and let the recorder's user write to it", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s", err, useRecordersUser)
	}
	return err
}

const useRecordersUser = "use the recorder's user, as with sudo -u holdfast-recorder"

// withRemedy adds what to do to SQLite's error for a file that this user may not write to.
func withRemedy(err error) error {
	const readOnlyDatabase = 8 // SQLITE_READONLY, without the extended code
	var failed *sqlite.Error
	if errors.As(err, &failed) && failed.Code()&0xff == readOnlyDatabase {
		return fmt.Errorf("%w: %s", err, useRecordersUser)
	}
	return err
}

// sqliteName returns the URI of a file with pragmas. A process waits up to ten seconds for the
// lock of another one.
func sqliteName(path string, pragmas ...string) string {
	// url.URL escapes a ? or # in the path.
	q := url.Values{"_pragma": append([]string{"busy_timeout(10000)"}, pragmas...)}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}

// Backup copies a SQLite database into a new file while the recorder writes to it. The copy is
// consistent and has no free pages. For PostgreSQL the error names pg_dump.
func (s *Store) Backup(ctx context.Context, to string) error {
	if s.dialect.name != "sqlite" {
		return fmt.Errorf("PostgreSQL has its own: pg_dump -Fc %s", s.options.Database)
	}
	// Never overwrite an older backup.
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s is there already: name a new file", to)
	}
	// VACUUM INTO does not sync. Sync and rename: a file under the final name is complete.
	part := to + ".part"
	if err := os.Remove(part); err != nil && !os.IsNotExist(err) {
		return err
	}
	// SQLite would not say that this user cannot write there.
	if err := accessible(part, true); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	if _, err := s.db.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
		return err
	}
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	// The rename is durable after a sync of the folder.
	folder, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
