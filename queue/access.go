package queue

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/queue/pages"
)

// view reads the file as of one commit. It calls do again when commits have come
// between; at last it keeps them away.
func (f *file) view(do func(*pages.File) error) error {
	for range readAttempts {
		if done, err := f.viewOnce(do); done {
			return err
		}
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	_, err := f.viewOnce(do)
	return err
}

// viewOnce reports whether all that was read belongs together.
func (f *file) viewOnce(do func(*pages.File) error) (done bool, err error) {
	reader := f.reader.Load()
	p, err := openPages(reader)
	if err == nil {
		err = do(p)
	}
	if f.reader.Load() != reader {
		return false, err // the file was opened again
	}
	if after, again := openPages(reader); p != nil && again == nil && after.TxID() != p.TxID() {
		return false, err
	}
	return true, err
}

// openPages opens a file to be read page by page.
func openPages(file *os.File) (*pages.File, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return pages.Open(file, info.Size())
}

// update runs a transaction.
func (f *file) update(do func(*bbolt.Tx) error) error {
	if err := f.readOnly(); err != nil {
		return err
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.db.update(do)
}

var (
	errClosed   = errors.New("the queue file is closed")
	errReopened = errors.New("the queue file is being opened again")
)

// open opens the file for reading and writing.
func (f *file) open() error {
	d, err := openDB(f.path)
	if err != nil {
		f.readOnlyCause = fmt.Errorf("open %s: %w", f.path, err)
		return f.readOnlyCause
	}
	reader, err := os.Open(f.path)
	if err == nil {
		err = sameFile(reader, d.lock)
	}
	if err != nil {
		f.readOnlyCause = err
		return errors.Join(err, d.end())
	}
	f.db, f.readOnlyCause = d, nil
	f.readFrom(reader)
	return nil
}

func sameFile(a, b *os.File) error {
	one, err := a.Stat()
	if err != nil {
		return err
	}
	two, err := b.Stat()
	if err == nil && !os.SameFile(one, two) {
		err = errReplaced
	}
	return err
}

// readFrom puts another reader in place. A read under way ends with the old one.
func (f *file) readFrom(reader *os.File) {
	if old := f.reader.Swap(reader); old != nil {
		old.Close()
	}
}

// endWriting closes the db; what is in the file can still be read.
func (f *file) endWriting(why error) error {
	if f.db == nil {
		return nil
	}
	d := f.db
	f.db, f.readOnlyCause = nil, why
	return d.end()
}

// openReadOnly opens a file that cannot be written, for a reason.
func openReadOnly(path string, log *slog.Logger, why error) (*file, error) {
	reader, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &file{path: path, log: log, readOnlyCause: why}
	f.readFrom(reader)
	if err := f.lockReader(); err != nil {
		return nil, errors.Join(ErrLocked, reader.Close())
	}
	return f, nil
}

// readOnly says why the file cannot be written, nil if it can.
func (f *file) readOnly() error {
	if f.db != nil {
		return nil
	}
	return f.readOnlyCause
}

// lockReader takes the lock on a file that is only read. bbolt would wait for it: let
// gives it back.
func (f *file) lockReader() error {
	return syscall.Flock(int(f.reader.Load().Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

func (f *file) unlockReader() error { return syscall.Flock(int(f.reader.Load().Fd()), syscall.LOCK_UN) }

// reopen opens the file again after a commit that failed: it may be on disk all
// the same. It reports false if the file is not sound. With an error it can be
// read as before, if its disk can.
func (f *file) reopen() (sound bool, err error) {
	if err := f.endWriting(errReopened); err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			f.readOnlyCause = err
			f.lockReader() // else another process has it, and inspect says so
		}
	}()
	if err := f.mayWrite(); err != nil {
		return false, err
	}
	f.unlockReader()
	st := store{path: f.path, log: f.log}
	if found, _, err := st.inspect(); err != nil || found != intact {
		return false, err
	}
	return true, f.open()
}

// mayWrite says what keeps the file from being opened for writing, before it is
// read as a whole.
func (f *file) mayWrite() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|syscall.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it is made anew
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// close closes the file.
func (f *file) close() error {
	if f == nil {
		return nil
	}
	err := f.endWriting(errClosed)
	return errors.Join(err, f.reader.Load().Close())
}
