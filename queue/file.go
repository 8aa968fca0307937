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

// The buckets and keys of the file. There is a bucket of blocks for each lane, whose keys
// are the number of the last reading in a block; a bucket for the tail of each lane; the
// meta bucket; and bucketRejects. Tails and meta are usually small enough to be stored
// inline in the root page, so that a commit without a block writes two pages.
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

// A file is the part of the queue on disk. One writer and one reader may use it at the same
// time. The methods view, read and readRejects are for the reader, all others for the
// writer. Only the writer uses the fields, except reader and writing. It has more methods
// than other types because it hides that both bbolt and package pages have the file open.
type file struct {
	path string // never changes
	log  *slog.Logger

	// The state after the last successful commit, which the next plan needs.
	size    int64  // bytes of all blocks in the lanes
	thinned uint64 // the key up to which the routine lane is thinned out
	rejects rejectsSize

	reader  atomic.Pointer[os.File] // is read with package pages; stays open when the db is closed
	writing sync.Mutex              // held by a transaction, and by a view that commits have disturbed too often

	// After open, exactly one of db and readOnlyCause is nil.
	db            *db   // nil: the file cannot be written
	readOnlyCause error // why there is no db
	salvagedFrom  error // not nil if this file is in memory: the damage of the file at path, see salvageInMemory
}

// openFile opens the file for writing, and creates it if necessary.
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

// prepare creates the buckets that a new file, or one of an older version, does not have.
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

// key returns the key of a number. It is big endian, so that the keys have the order of the
// numbers.
func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// number returns the number of a key, or 0, which is never used, if it is not a valid key.
func number(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

// view reads the file in the state of one commit. If there was a commit meanwhile it calls
// do again, which must start from the beginning. After several attempts it locks commits
// out. It needs no db, so it works while the disk cannot be written.
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

// viewOnce calls do once, and reports whether there was no commit meanwhile.
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

// openPages opens a file with package pages.
func openPages(file *os.File) (*pages.File, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return pages.Open(file, info.Size())
}

// update runs a transaction. After an error the db cannot be used any more: see reopen.
func (f *file) update(do func(*bbolt.Tx) error) error {
	if err := f.readOnly(); err != nil {
		return err
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.db.update(do)
}

// Causes for a file without a db that are not faults of the disk.
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

// sameFile returns errReplaced if two open files are different: the file at the path was
// replaced after the first one was opened.
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

// readFrom replaces the reader and closes the old one: a read in progress fails.
func (f *file) readFrom(reader *os.File) {
	if old := f.reader.Swap(reader); old != nil {
		old.Close()
	}
}

// endWriting closes the db. The file can still be read.
func (f *file) endWriting(why error) error {
	if f.db == nil {
		return nil
	}
	d := f.db
	f.db, f.readOnlyCause = nil, why
	return d.end()
}

// openReadOnly opens a file only for reading; cause is why it cannot be written.
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

// readOnly returns why the file cannot be written, nil if it can.
func (f *file) readOnly() error {
	if f.db != nil {
		return nil
	}
	return f.readOnlyCause
}

// lockReader locks a file that is only read, so that no other process opens it. bbolt would
// wait for that lock, so unlockReader has to release it before bbolt opens the file.
func (f *file) lockReader() error {
	return syscall.Flock(int(f.reader.Load().Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// unlockReader releases the lock of lockReader. It is no error if there is none.
func (f *file) unlockReader() error { return syscall.Flock(int(f.reader.Load().Fd()), syscall.LOCK_UN) }

// close closes the file; f may be nil. Reads in progress fail.
func (f *file) close() error {
	if f == nil {
		return nil
	}
	err := f.endWriting(errClosed)
	return errors.Join(err, f.reader.Load().Close())
}
