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
	"github.com/holdfast-iot/holdfast/sensors"
	"go.etcd.io/bbolt"
)

// ErrLocked means that another process has the queue open.
var ErrLocked = errors.New("another process has the queue open")

// A store is the place of the file on disk, with what lies around it:
//
//	queue.db            the file
//	queue.db.new        one in the making: without a promise
//	queue.db.salvaged   what came out of a damaged one, until it takes its place
//	queue.db.opening    there while the file is opened, see marker
//	queue.db.aside-...  damaged ones, see quarantinedFile
//	queue.db.of-...     those of other client IDs, see Other
//	queue.db.holdfast   the file, where queue.db was never ours
//
// It is made for one opening, in the writer's goroutine, and holds no lock. It has
// more methods than other types: each is one thing that can be wrong with a file,
// and what is done about it.
type store struct {
	path           string // useOtherPath changes it
	maxQuarantined int64  // bytes that the quarantined files may take together
	log            *slog.Logger
	now            time.Time // of the names that moved files get

	// What the queue knows that opens the file; zero where a store only moves files.
	clientID     string                  // ours; "": whose the file says
	acked        [2]seqs                 // by lane, as far as this start knows
	newEvent     func(storageEvent) Item // numbers and stamps an event that is stored in a file
	hadFile      bool                    // this start has had the file open
	firstWaiting [2]uint64               // by lane: what is older is acknowledged
}

// storageEvent is an event that opening the file has made.
type storageEvent struct{ name, details string } // details is a JSON object

// A condition is what the file looks like without opening it with bbolt, which may
// crash on a damaged one.
type condition int

const (
	absent  condition = iota // or empty
	intact                   // its structure is sound; a block may still fail its checksum
	damaged                  // ours, and its structure is not sound
	foreign                  // never ours: it is not touched
)

// open opens the file, whatever it looks like: it inspects it, replaces what is
// damaged or of another client ID, opens it and loads what it knows.
func (st *store) open() (f *file, k fileState, made []storageEvent, err error) {
	if err := st.finishRename(); err != nil {
		return nil, k, nil, err
	}
	found, made, err := st.inspectOurs()
	if err != nil {
		return nil, k, nil, err
	}
	// From here to unmark the process may die of the file: bbolt maps it.
	m := marker{path: st.path + ".opening"}
	if err := st.mark(&m); err != nil {
		return nil, k, nil, err
	}
	defer st.unmark(&m) // also after an error: it is no crash
	if found.condition == intact && m.suspectFile() {
		found = finding{damaged, errCrashes}
	}
	f, ends, err := st.openFound(found)
	if err == nil {
		k, err = st.loadOrRepair(f)
	}
	if err != nil {
		return nil, k, nil, errors.Join(err, f.close())
	}
	switch {
	case found.condition == damaged:
		k.ends = ends
	case found.condition == absent && st.hadFile:
		st.log.Error("the queue file was emptied under the agent: what was in it is lost", "file", st.path)
		made = append(made, storageEvent{"storage", jsonObject("state", "lost", "file", st.path)})
		k.ends = st.acked
	}
	made = append(made, st.deleteOldQuarantined()...)
	st.warnOtherClients()
	return f, k, made, nil
}

// inspectOurs inspects the file, or the one beside it if it was never ours.
func (st *store) inspectOurs() (found finding, made []storageEvent, err error) {
	found, err = st.inspect()
	if err == nil && found.condition == foreign {
		made = append(made, st.useOtherPath())
		found, err = st.inspect()
	}
	if err == nil && found.condition == foreign {
		err = errNeverOurs
	}
	return found, made, err
}

var errCrashes = errors.New("the agent died twice while it opened the file")

// mark leaves the marker of this start. A disk that cannot be written is no
// error: the backlog is worth more than the marker.
func (st *store) mark(m *marker) error {
	err := m.set()
	if diskTrouble(err) {
		st.log.Warn("this start is not marked", "err", err)
		return nil
	}
	return err
}

// unmark takes the marker away. That it stays is no error: the next start counts a
// crash that was none, and one does not quarantine a file.
func (st *store) unmark(m *marker) {
	if err := m.clear(); err != nil {
		st.log.Warn("the marker of this start stays", "err", err)
	}
}

// openFound opens what inspect found. ends are the last readings in a damaged
// file that was replaced.
func (st *store) openFound(found finding) (f *file, ends [2]seqs, err error) {
	if found.condition == damaged {
		ends, err = st.quarantine(found.damage)
		if diskTrouble(err) {
			f, ends, err = st.salvageInMemory(found.damage, err)
		}
		if f != nil || err != nil {
			return f, ends, err
		}
	}
	if found.condition != absent {
		if err := st.moveOtherClient(); err != nil {
			return nil, ends, err
		}
	}
	f, err = st.openOrMake()
	return f, ends, err
}

// loadOrRepair loads what an open file knows, and takes damaged values out of it
// if it can be written.
func (st *store) loadOrRepair(f *file) (fileState, error) {
	k, err := f.loadState(st.firstWaiting)
	if err == nil && k.damaged.count() > 0 && f.readOnly() == nil {
		return st.repair(f, k)
	}
	return k, err
}

var errNeverOurs = errors.New("neither this file nor the one beside it that ends in .holdfast was made by holdfast")

// finishRename puts a salvaged file into its place, if the power went just before
// that: it is whole, or it would not have its name. Where the place is taken, the
// salvaged file is an old one, and the next salvage writes over it.
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

// A finding is what inspect found.
type finding struct {
	condition condition
	damage    error // what is wrong with a damaged file
}

// inspect reads the file without trust and without bbolt. The error is what a
// person has to mend, or the disk's.
func (st *store) inspect() (finding, error) {
	none := finding{condition: absent}
	file, err := os.Open(st.path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return none, err
	case info.IsDir():
		return none, &fs.PathError{Op: "open", Path: st.path, Err: syscall.EISDIR}
	case info.Size() == 0:
		return none, nil
	}
	if err := tryLock(file); err != nil {
		return none, err
	}
	damage := verify(file, info.Size())
	switch {
	case damage == nil:
		return finding{condition: intact}, nil
	case isOurs(file, info.Size()):
		return finding{damaged, damage}, nil
	case errors.Is(damage, syscall.EIO): // another attempt may read it
		return none, damage // whose it is cannot be read
	}
	return finding{condition: foreign}, nil
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

// isFormat recognizes the entry that prepare puts into each file. A later version of
// the format has the same begin.
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

// make makes a new file at a path, in the name of another until it is whole and
// synced; fill, which may be nil, puts something into it. A power cut leaves the new
// file or none.
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

// tryLock tells whether another process holds the file, as bbolt locks it.
func tryLock(file *os.File) error { return flock(file, syscall.LOCK_SH) }

// lockAlone takes the lock on the file: nobody else has it, also not to read.
func lockAlone(file *os.File) error { return flock(file, syscall.LOCK_EX) }

// flock takes a lock without waiting for it. The lock is bbolt's: it ends when the
// file is closed. ErrLocked says who has it, where the kernel tells.
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

// renewAbove is the size from which a file is made anew when it is empty. Below it,
// what bbolt keeps of its free pages is too little to be worth the writing.
const renewAbove = 8 << 20 // bytes

// renew makes the file anew if it has grown and holds no block: bbolt's files
// never shrink. What else it knows is carried over, and what was rejected.
func (f *file) renew(c change) error {
	info, err := os.Stat(f.path)
	// bbolt doubles its files: less than four times as much might not be enough for
	// what is carried over, and the file would be made anew again and again.
	if err != nil || info.Size() < max(renewAbove, 4*f.rejects.size) || f.size > 0 {
		return err
	}
	st := store{path: f.path, log: f.log}
	if err := f.endWriting(errReopened); err != nil {
		return err
	}
	err = st.make(f.path, func(fresh *file) error {
		if err := fresh.copyRejects(f.path); err != nil {
			return err
		}
		_, err := fresh.write(c)
		return err
	})
	return errors.Join(err, f.open()) // the new one, or still the old
}

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
	if found, err := st.inspect(); err != nil || found.condition != intact {
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

// damagedValues are those of a sound file that fail their checksums: the disk
// has changed a bit where no structure is.
type damagedValues struct {
	blocks [2][]uint64 // keys, of what is not acknowledged
	tails  [2]bool
	gaps   bool
}

// count counts the values.
func (v damagedValues) count() (n int) {
	for p := range v.blocks {
		n += len(v.blocks[p])
		if v.tails[p] {
			n++
		}
	}
	if v.gaps {
		n++
	}
	return n
}

// repair takes damaged values out of a sound file, and declares in the same
// commit what was in them, as far as the others tell. Without that, a gap would
// be found only while both neighbours of a damaged block are read by one start.
// A disk that cannot be written leaves them: then they are noticed one by one.
func (st *store) repair(f *file, k fileState) (fileState, error) {
	s, err := scanDamaged(st.path)
	if err != nil {
		return k, err
	}
	missing := s.declare(st.acked)
	details := jsonObject("state", "damaged", "blocks", k.damaged.count(), "missing", missing)
	event := st.newEvent(storageEvent{"storage", details})
	if err := f.remove(k, s.gaps, event); err != nil {
		st.log.Error("damaged blocks stay in the queue", "file", st.path, "blocks", k.damaged.count(), "err", err)
		if _, err := f.reopen(); err != nil {
			return k, err
		}
		return f.loadState(st.firstWaiting)
	}
	st.log.Error("blocks of the queue were damaged: the rest is used",
		"file", st.path, "blocks", k.damaged.count(), "missing", missing)
	ends := s.ends
	k, err = f.loadState(st.firstWaiting)
	k.ends = ends
	return k, err
}

// remove deletes what is damaged, stores the gaps and an event.
func (f *file) remove(k fileState, gaps []Gap, event Item) error {
	return f.update(func(tx *bbolt.Tx) error {
		for p, keys := range k.damaged.blocks {
			for _, n := range keys {
				if err := tx.Bucket(bucketLanes[p]).Delete(key(n)); err != nil {
					return err
				}
			}
			if k.damaged.tails[p] {
				if err := tx.Bucket(bucketTails[p]).Delete(keyTail); err != nil {
					return err
				}
			}
		}
		if err := storeGaps(tx.Bucket(bucketMeta), gaps); err != nil {
			return err
		}
		_, err := applyLane(tx, int(sensors.Alarm), k.appendEvent(event))
		return err
	})
}

// appendEvent is the change that puts an event behind the alarms of a file
// that nobody uses yet, in one block with what is in the tail.
func (k *fileState) appendEvent(event Item) (c laneChange) {
	l := &k.lanes[sensors.Alarm]
	event.number = l.next
	items := append(l.mem.items(), event)
	c.blocks = []block{{last: event.number, data: encode(run{items: items})}}
	if l.disk.lastTail > 0 {
		c.tail = []byte{}
	}
	return c
}

// putEvent puts an event into a file that is being made.
func (f *file) putEvent(event Item) error {
	k, err := f.loadState([2]uint64{})
	if err != nil {
		return err
	}
	c := change{}
	c.lanes[sensors.Alarm] = k.appendEvent(event)
	_, err = f.write(c)
	return err
}
