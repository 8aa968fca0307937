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

// A db is the file as bbolt has it open. Only writing goes through bbolt, and
// only from one goroutine: a fault in mapped memory can leave bbolt's locks
// taken, and whoever needs one of them then waits for ever. What is read is read
// with package pages, which takes no lock and maps nothing.
type db struct {
	*bbolt.DB
	lock   *os.File // bbolt's; it holds the lock on the file
	logger *abortLogger

	spent bool // a transaction failed: the file must be opened again
	stuck bool // bbolt has kept its own locks: it cannot be closed
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
				if strings.HasSuffix(name, ".new") { // one that we are making: a link there is not ours
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

// update runs a transaction. After one that failed there is no other: the file
// has to be opened again.
func (d *db) update(do func(*bbolt.Tx) error) error {
	if d.spent {
		return bolterrors.ErrDatabaseNotOpen
	}
	var tx *bbolt.Tx
	d.spent, d.stuck = true, true // Begin may fault with bbolt's write lock taken
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
	if tx != nil { // Rollback gives the lock back, and reads nothing
		d.stuck = guard(func() error { tx.Rollback(); return nil }) != nil
	}
	return err
}

// end closes the db, or gives up one that cannot be closed: its mapping stays
// until the process ends.
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

// An abortLogger is bbolt's logger. bbolt logs a commit that fails before it rolls it
// back; without a synced free list it then walks the whole file in a
// goroutine of its own, where a damaged page ends the process. When it is armed,
// an error that is logged ends the commit at once. What bbolt knows of its free
// pages is wrong after that: no transaction may follow.
type abortLogger struct {
	*bbolt.DefaultLogger
	armed bool
}

// aborted is what ends the commit; it is the error that was logged.
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

// guard makes a fault in mapped memory, and a panic of bbolt's, an error of f: a
// card that cannot read a page any more must not end the agent.
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

// unlock takes the lock off and closes the file. Closing is not enough: the
// mapping keeps the file open, and the lock with it.
func unlock(file *os.File) error {
	err := errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EBADF) {
		return nil // it was closed before
	}
	return err
}
