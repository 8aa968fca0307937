package queue

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// A db is the file opened with bbolt. bbolt is used only for writing and only by one
// goroutine: after a fault in mapped memory some of bbolt's locks may stay locked, and a
// goroutine that needs one of them would block forever. The file is read with package
// pages, which needs no lock and no mapped memory.
type db struct {
	*bbolt.DB
	lock   *os.File // opened by bbolt; holds the file lock
	logger *abortLogger

	spent bool // a transaction failed: the file must be opened again
	stuck bool // bbolt's own locks are still locked: it cannot be closed
}

const pageSize = 4096 // bytes

// openDB opens the file with the options that suit a small card:
//
//   - a free list that is not synced: after a large backlog it would be
//     rewritten with each commit, 300 kB instead of 16 kB
//   - pages of 4 KiB also where the kernel has 16 KiB, as on a Pi 5
func openDB(path string) (*db, error) {
	d := &db{logger: &abortLogger{DefaultLogger: &bbolt.DefaultLogger{Logger: log.New(io.Discard, "", 0)}}}
	err := guard(func() (err error) {
		d.DB, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:        time.Second,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
			PageSize:       pageSize,
			NoStatistics:   true,
			Logger:         d.logger,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				if strings.HasSuffix(name, ".new") { // a new file: do not follow a link at its path
					flag |= syscall.O_NOFOLLOW
				}
				d.lock, err = os.OpenFile(name, flag, mode)
				return d.lock, err
			},
		})
		return err
	})
	if err == nil {
		return d, nil
	}
	if d.lock != nil {
		unlock(d.lock) // bbolt has, unless it panicked
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrLocked
	}
	return nil, err
}

// update runs a transaction. After an error the file has to be opened again before the next
// transaction.
func (d *db) update(do func(*bbolt.Tx) error) error {
	if d.spent {
		return bolterrors.ErrDatabaseNotOpen
	}
	var tx *bbolt.Tx
	d.spent, d.stuck = true, true // Begin may fault while it holds bbolt's write lock
	err := guard(func() (err error) {
		if tx, err = d.Begin(true); err != nil {
			d.stuck = false
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		d.logger.armed = true
		return tx.Commit()
	})
	d.logger.armed = false
	if err == nil {
		d.spent, d.stuck = false, false
		return nil
	}
	if tx != nil { // Rollback releases the lock and reads nothing
		d.stuck = guard(func() error { tx.Rollback(); return nil }) != nil
	}
	return err
}

// end closes the db. If bbolt cannot close it, end unlocks and closes the file, and the
// mapping stays until the process ends.
func (d *db) end() error {
	if d.stuck {
		return unlock(d.lock)
	}
	err := guard(d.Close)
	if err != nil {
		err = errors.Join(err, unlock(d.lock))
	}
	return err
}

// An abortLogger is the logger of bbolt, which aborts a failed commit. bbolt logs the error
// before it rolls back. The rollback, without a synced freelist, walks the whole file in
// another goroutine, where a damaged page would end the process. So while the logger is
// armed, Errorf panics to end the commit at once. After that bbolt's list of free pages is
// wrong, and no further transaction is allowed.
type abortLogger struct {
	*bbolt.DefaultLogger
	armed bool
}

// aborted is the value of that panic: the error that was logged.
type aborted struct{ error }

// Errorf panics with the first error among its arguments, or with the text if there
// is none. Only update arms it, and guard recovers the panic.
func (a *abortLogger) Errorf(format string, v ...any) {
	if !a.armed {
		return
	}
	for _, arg := range v {
		if err, ok := arg.(error); ok {
			panic(aborted{err})
		}
	}
	panic(aborted{fmt.Errorf(format, v...)})
}

// guard calls f and returns a fault in mapped memory or a panic of bbolt as an error: an SD
// card with an unreadable page must not end the agent.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case aborted:
			err = p.error
		default:
			err = fmt.Errorf("%w: %v", syscall.EIO, p)
		}
	}()
	return f()
}

// unlock releases the file lock and closes the file. Closing alone is not enough, because
// the mapping keeps the file open and locked.
func unlock(file *os.File) error {
	err := errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EBADF) {
		return nil // it is closed already
	}
	return err
}
