package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/queue/pages"
)

// ErrLocked means that another process has the queue open.
var ErrLocked = errors.New("another process has the queue open")

// A store is the place of the file on disk, with what lies around it:
//
//	queue.db            the file
//	queue.db.new        one in the making: without a promise
//	queue.db.salvaged   what came out of a damaged one, until it takes its place
//	queue.db.opening    there while the file is opened, see marker
//	queue.db.aside-...  damaged ones, see aside
//	queue.db.of-...     those of other client IDs, see Other
//	queue.db.holdfast   the file, where queue.db was never ours
type store struct {
	path           string
	maxQuarantined int64 // bytes that the files aside may take together
	log            *slog.Logger
	now            time.Time

	clientID     string                  // ours; "": whose the file says
	acked        [2]seqs                 // of the lanes, as far as this start knows
	newEvent     func(storageEvent) Item // numbers and stamps an event that is stored in a file
	hadFile      bool                    // this start has had the file open
	firstWaiting [2]uint64               // what is older is acknowledged
}

// storageEvent is an event that opening the file has made.
type storageEvent struct{ name, details string }

// A condition is what the file looks like without opening it with bbolt.
type condition int

const (
	absent condition = iota // or empty
	intact
	damaged
	foreign // never ours
)

// open opens the file, whatever it looks like.
func (st *store) open() (f *file, k fileState, made []storageEvent, err error) {
	if err := st.finishRename(); err != nil {
		return nil, k, nil, err
	}
	state, why, err := st.inspect()
	if err == nil && state == foreign {
		made = append(made, st.useOtherPath())
		state, why, err = st.inspect()
	}
	if err == nil && state == foreign {
		err = errNeverOurs
	}
	if err != nil {
		return nil, k, nil, err
	}
	m := marker{path: st.path + ".opening"}
	if err := m.set(); diskTrouble(err) { // the backlog is worth more than the marker
		st.log.Warn("this start is not marked", "err", err)
	} else if err != nil {
		return nil, k, nil, err
	}
	defer func() { // an error is no death
		if failed := m.clear(); failed != nil {
			st.log.Warn("the marker of this start stays", "err", failed)
		}
	}()
	if state == intact && m.suspectFile() {
		state, why = damaged, errors.New("the agent died twice while it opened the file")
	}
	var ends [2]seqs
	if state == damaged {
		ends, err = st.quarantine(why)
		if diskTrouble(err) {
			f, ends, err = st.salvageInMemory(why, err)
		}
		if err != nil {
			return nil, k, nil, err
		}
	}
	if f == nil && state != absent {
		if err := st.moveOtherClient(); err != nil {
			return nil, k, nil, err
		}
	}
	if f == nil {
		f, err = st.openOrMake()
	}
	if err == nil {
		k, err = f.loadState(st.firstWaiting)
	}
	if err == nil && k.damaged.count() > 0 && f.readOnly() == nil {
		k, err = st.repair(f, k)
	}
	if err != nil {
		return nil, k, nil, errors.Join(err, f.close())
	}
	switch {
	case state == damaged:
		k.ends = ends
	case state == absent && st.hadFile:
		st.log.Error("the queue file was emptied under the agent: what was in it is lost", "file", st.path)
		made = append(made, storageEvent{"storage", jsonObject("state", "lost", "file", st.path)})
		k.ends = st.acked
	}
	made = append(made, st.deleteOldQuarantined()...)
	st.warnOtherClients()
	return f, k, made, nil
}

var errNeverOurs = errors.New("neither this file nor the one beside it that ends in .holdfast was made by holdfast")

// finishRename puts a salvaged file into its place, if the power went just before
// that: it is whole, or it would not have its name.
func (st *store) finishRename() error {
	if _, err := os.Stat(st.path); !errors.Is(err, fs.ErrNotExist) {
		return nil // inspect says what is wrong
	}
	if _, err := os.Stat(st.path + ".salvaged"); err != nil {
		return nil
	}
	return moveFile(st.path+".salvaged", st.path)
}

// useOtherPath takes another path than that of a file that was never ours.
func (st *store) useOtherPath() storageEvent {
	old := st.path
	st.path += ".holdfast"
	st.log.Error("the file at queue.path was not made by holdfast: it stays as it is", "file", old, "using", st.path)
	return storageEvent{"storage", jsonObject("state", "foreign", "file", old, "using", st.path)}
}

// inspect reads the file without trust. The error is what a person has to mend,
// or the disk's; why is what is wrong with a damaged file.
func (st *store) inspect() (s condition, why, err error) {
	file, err := os.Open(st.path)
	if errors.Is(err, fs.ErrNotExist) {
		return absent, nil, nil
	}
	if err != nil {
		return absent, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return absent, nil, err
	case info.IsDir():
		return absent, nil, &fs.PathError{Op: "open", Path: st.path, Err: syscall.EISDIR}
	case info.Size() == 0:
		return absent, nil, nil
	}
	if err := tryLock(file); err != nil {
		return absent, nil, err
	}
	if why = verify(file, info.Size()); why == nil {
		return intact, nil, nil
	}
	if isOurs(file, info.Size()) {
		return damaged, why, nil
	}
	if errors.Is(why, syscall.EIO) {
		return absent, nil, why // whose it is cannot be read
	}
	return foreign, nil, nil
}

var errForeign = errors.New("a database of another program")

// verify returns what is wrong with the structure of the file. A block that
// fails its checksum is not: it is skipped when its turn comes.
func verify(file *os.File, size int64) error {
	p, err := pages.Open(file, size)
	if err != nil {
		return err
	}
	ours := false
	err = p.Verify(func(bucket, key, value []byte) error {
		ours = ours || isFormat(key, value)
		return nil
	})
	if err == nil && !ours {
		return errForeign
	}
	return err
}

func isFormat(key, value []byte) bool {
	return string(key) == string(keyFormat) && strings.HasPrefix(string(value), "holdfast queue ")
}

// isOurs looks for anything that only we write.
func isOurs(file *os.File, size int64) bool {
	ours := false
	_, err := pages.Scan(file, size, func(_ uint64, key, value []byte) {
		if !ours {
			_, _, err := readHeader(value)
			ours = err == nil || isFormat(key, value)
		}
	})
	return err == nil && ours
}

// openOrMake opens a file that bbolt can open, or makes one: beside its place,
// so that a power cut leaves it whole or not there.
func (st *store) openOrMake() (*file, error) {
	if info, err := os.Stat(st.path); err != nil || info.Size() == 0 {
		if err := st.make(st.path, nil); err != nil {
			return nil, err
		}
	}
	f, err := openFile(st.path, st.log)
	if diskTrouble(err) {
		return openReadOnly(st.path, st.log, err)
	}
	return f, err
}

// make makes a new file at a path; fill puts something into it.
func (st *store) make(path string, fill func(*file) error) error {
	part := st.path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := openFile(part, st.log)
	if err != nil {
		return errors.Join(err, removeIfThere(part))
	}
	if fill != nil {
		err = fill(f)
	}
	if err = errors.Join(err, f.close()); err != nil {
		return errors.Join(err, removeIfThere(part))
	}
	return moveFile(part, path)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tryLock tells whether another process holds the file, as bbolt locks it.
func tryLock(file *os.File) error { return flock(file, syscall.LOCK_SH) }

// lockAlone takes the lock on the file: nobody else has it, also not to read.
func lockAlone(file *os.File) error { return flock(file, syscall.LOCK_EX) }

func flock(file *os.File, how int) error {
	err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	if pid := holder(file); pid != "" {
		return fmt.Errorf("%w: process %s", ErrLocked, pid)
	}
	return ErrLocked
}

// holder finds who has the lock in /proc/locks: "1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF".
func holder(file *os.File) string {
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	inode := fmt.Sprintf(":%d", info.Sys().(*syscall.Stat_t).Ino)
	locks, _ := os.ReadFile("/proc/locks") // no answer is no name
	for line := range strings.Lines(string(locks)) {
		if f := strings.Fields(line); len(f) > 5 && f[1] == "FLOCK" && strings.HasSuffix(f[5], inode) {
			return f[4]
		}
	}
	return ""
}
