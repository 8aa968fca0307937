package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"go.etcd.io/bbolt"
)

// What the reader and bbolt call the parts of the file. The file has a bucket for
// each lane, whose keys are the number of the last reading in a block; one for the
// tail of each lane; one for what is known about them; and one for what was
// rejected. All but the first two are small enough to lie in the root page, so that
// a commit that touches no block writes two pages.
var (
	// A name must not change: files of older agents have it.
	bucketLanes = [...][]byte{sensors.Routine: []byte("routine"), sensors.Alarm: []byte("alarm")}
	bucketTails = [...][]byte{sensors.Routine: []byte("routine tail"), sensors.Alarm: []byte("alarm tail")}
	bucketMeta  = []byte("meta")

	keyTail   = []byte("tail")             // the only key of a tail's bucket: a block
	keyGaps   = []byte("gaps")             // see gapsKey
	keyClock  = []byte("clock")            // see encodeClock
	keyFormat = []byte("format")           // says that the file is ours, and its version
	format    = []byte("holdfast queue 1") // its value
)

// file is the part of the queue on disk. Its methods are for one writer and one
// reader at a time. That of the reader are view, read and readRejects; all others
// belong to the writer, and every field but reader and writing is the writer's
// alone. It has more methods than other types because both bbolt and package pages
// have the same file open, and only here anybody knows of both.
type file struct {
	path string // never changes
	log  *slog.Logger

	// What the last commit that succeeded has left. The writer plans the next one
	// with them.
	size    int64  // bytes of all blocks in the lanes
	thinned uint64 // the key up to which the routine lane is thinned out
	rejects rejectsSize

	reader  atomic.Pointer[os.File] // what is read; it stays when the db is closed
	writing sync.Mutex              // held by a transaction, and by a view that commits have disturbed too often

	// Either db or readOnlyCause is nil, but before open.
	db            *db   // nil: the file cannot be written
	readOnlyCause error // why there is no db
	salvagedFrom  error // what is wrong with the file at path, if this one is what was salvaged of it in memory
}

// openFile opens the file or makes it, durably.
func openFile(path string, log *slog.Logger) (*file, error) {
	f := &file{path: path, log: log}
	if err := f.open(); err != nil {
		return nil, err
	}
	if err := errors.Join(f.prepare(), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// prepare makes the buckets of a new file, and the one that an older file has
// not got.
func (f *file) prepare() error {
	ready := false
	err := f.view(func(p *pages.File) error {
		meta, err := metaOf(p)
		ready = meta[string(keyFormat)] != nil && p.Has(string(bucketRejects))
		return err
	})
	if ready || err != nil {
		return err
	}
	return f.update(func(tx *bbolt.Tx) error {
		for _, name := range append(append(bucketLanes[:], bucketTails[:]...), bucketMeta, bucketRejects) {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyFormat, format)
	})
}

// key is the key of a number. Big endian, so that bbolt's order of the keys is the
// order of the numbers.
func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// number is the number of a key, 0 if it is none of ours: 0 is never given.
func number(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// view reads the file as of one commit. It calls do again when commits have come
// between, and so do must begin anew each time; at last it keeps commits away. It
// needs no db, and works while the disk cannot be written.
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

// update runs a transaction. An error leaves the db unusable: see reopen.
func (f *file) update(do func(*bbolt.Tx) error) error {
	if err := f.readOnly(); err != nil {
		return err
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.db.update(do)
}

// Why a file has no db, where no disk is at fault.
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

// sameFile returns errReplaced if two open files are not the same one: the path was
// given to another file between the two openings.
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

// lockReader takes the lock on a file that is only read, so that no other process
// opens it. bbolt would wait for that lock: unlockReader gives it back first.
func (f *file) lockReader() error {
	return syscall.Flock(int(f.reader.Load().Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// unlockReader gives the lock of lockReader back. To unlock a file that is not
// locked is no error.
func (f *file) unlockReader() error { return syscall.Flock(int(f.reader.Load().Fd()), syscall.LOCK_UN) }

// close closes the file; nil is no file and nothing to close. Reads under way end
// with an error.
func (f *file) close() error {
	if f == nil {
		return nil
	}
	err := f.endWriting(errClosed)
	return errors.Join(err, f.reader.Load().Close())
}
