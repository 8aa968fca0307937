package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"go.etcd.io/bbolt"
)

// ErrLocked means that another process has the queue open.
var ErrLocked = errors.New("another process has the queue open")

// A store opens, checks, replaces and moves the queue file. These files belong to it:
//
//	queue.db            the queue file
//	queue.db.new        a new file that is not complete yet
//	queue.db.salvaged   a complete new file, before it is renamed to queue.db
//	queue.db.opening    exists while the file is opened, see marker
//	queue.db.aside-...  damaged files, see quarantinedFile
//	queue.db.of-...     files of other client IDs, see Other
//	queue.db.holdfast   the queue file if another program made queue.db
//
// One store is made each time the file is opened. The goroutine that opens the file uses
// it, without a lock. It has more methods than other types: each handles one fault that
// a file can have.
type store struct {
	path           string // useOtherPath changes it
	maxQuarantined int64  // bytes, of all quarantined files together
	log            *slog.Logger
	now            time.Time // is part of the names of moved files

	// State of the queue that opens the file; zero if the store only moves files.
	clientID     string                  // ours; "": accept a file of any client ID
	acked        [2]seqs                 // by lane: the last seqs known to be acknowledged
	newEvent     func(storageEvent) Item // numbers and stamps an event that is stored in a file
	hadFile      bool                    // this start has had the file open before
	firstWaiting [2]uint64               // by lane: lower numbers are acknowledged
}

// storageEvent is an event to report after the file was opened.
type storageEvent struct{ name, details string } // details is a JSON object

// A condition is the result of a check of the file that does not use bbolt: bbolt may
// crash on a damaged file.
type condition int

const (
	absent  condition = iota // or empty
	intact                   // its structure is intact; a block may still fail its checksum
	damaged                  // made by holdfast, with a damaged structure
	foreign                  // made by another program: it is not changed
)

// open checks the file, replaces it if it is damaged or holds the backlog of another
// client ID, opens it and loads its state. made are the events to report. When ctx is done,
// open deletes the marker at once and goes on.
func (st *store) open(ctx context.Context) (f *file, k fileState, made []storageEvent, err error) {
	if err := st.finishRename(); err != nil {
		return nil, k, nil, err
	}
	found, made, err := st.inspectPaths()
	if err != nil {
		return nil, k, nil, err
	}
	// From here to unmark the file may crash the process: bbolt maps it into memory. A process
	// that was told to stop leaves no marker: it may end before the marker is deleted.
	m := marker{path: st.path + ".opening"}
	if ctx.Err() == nil {
		if err := st.mark(&m); err != nil {
			return nil, k, nil, err
		}
		defer st.unmarkOnce(ctx, &m)() // also after an error: an error is no crash
	}
	if found.condition == intact && m.suspectFile() {
		found = finding{damaged, errCrashedTwice}
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

// inspectPaths inspects the file. If another program made it, it uses and inspects the
// path that ends in .holdfast instead.
func (st *store) inspectPaths() (found finding, made []storageEvent, err error) {
	found, err = st.inspect()
	if err == nil && found.condition == foreign {
		made = append(made, st.useOtherPath())
		found, err = st.inspect()
	}
	if err == nil && found.condition == foreign {
		err = errNotQueueFiles
	}
	return found, made, err
}

var errCrashedTwice = errors.New("the agent died twice while it opened the file")

// mark writes the marker file. A disk that cannot be written is no error: the backlog
// can still be read and sent, and that is worth more than the marker.
func (st *store) mark(m *marker) error {
	err := m.set()
	if isDiskError(err) {
		st.log.Warn("the marker of this start could not be written", "err", err)
		return nil
	}
	return err
}

// unmark deletes the marker file. A failure is only logged: the next start then counts
// one crash that did not happen, and it takes two to quarantine a file.
func (st *store) unmark(m *marker) {
	if err := m.clear(); err != nil {
		st.log.Warn("the marker of this start could not be deleted", "err", err)
	}
}

// unmarkOnce calls unmark when ctx is done or when the function that it returns is called,
// whichever is first. That function returns after the marker was deleted.
func (st *store) unmarkOnce(ctx context.Context, m *marker) (unmark func()) {
	once := sync.OnceFunc(func() { st.unmark(m) })
	stop := context.AfterFunc(ctx, once)
	return func() { stop(); once() }
}

// openFound opens the file that inspect found. If the file was damaged and was replaced,
// ends are the last seqs in the new file.
func (st *store) openFound(found finding) (f *file, ends [2]seqs, err error) {
	if found.condition == damaged {
		ends, err = st.quarantine(found.damage)
		if isDiskError(err) {
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
	f, err = st.openOrCreate()
	return f, ends, err
}

// loadOrRepair loads the state of an open file. It removes damaged values from the file
// if it can be written.
func (st *store) loadOrRepair(f *file) (fileState, error) {
	k, err := f.loadState(st.firstWaiting)
	if err == nil && k.damaged.count() > 0 && f.readOnly() == nil {
		return st.repair(f, k)
	}
	return k, err
}

var errNotQueueFiles = errors.New("neither this file nor the one beside it that ends in .holdfast was made by holdfast")

// finishRename renames a salvaged file to the queue's path if a power cut came just
// before that rename. The salvaged file is complete: it gets its name only then. If the
// queue file exists, the salvaged file is an old one, and the next salvage replaces it.
func (st *store) finishRename() error {
	if _, err := os.Stat(st.path); !errors.Is(err, fs.ErrNotExist) {
		return nil // the file exists, or inspect returns the error
	}
	if _, err := os.Stat(st.path + ".salvaged"); err != nil {
		return nil
	}
	return moveFile(st.path+".salvaged", st.path)
}

// useOtherPath changes the path, because another program made the file at queue.path.
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

// inspect checks the file without bbolt and trusts nothing in it. An error comes from
// the disk or has to be fixed by a person; damage is part of the finding.
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
	if err := lockShared(file); err != nil {
		return none, err
	}
	damage := verify(file, info.Size())
	switch {
	case damage == nil:
		return finding{condition: intact}, nil
	case isOurs(file, info.Size()):
		return finding{damaged, damage}, nil
	case errors.Is(damage, syscall.EIO): // it is unknown who made the file
		return none, damage // another attempt may read it
	}
	return finding{condition: foreign}, nil
}

var errForeign = errors.New("a database of another program")

// verify returns what is wrong with the structure of the file. It does not check the
// checksums of blocks: a damaged block is skipped when it is read.
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

// isFormat recognizes the entry that prepare puts into each file. Later versions of the
// format have the same prefix.
func isFormat(key, value []byte) bool {
	return string(key) == string(keyFormat) && strings.HasPrefix(string(value), "holdfast queue ")
}

// isOurs reports whether the file has a block or a format entry that only holdfast writes.
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

// openOrCreate opens the file with bbolt, and creates it first if it is absent or empty.
// The structure of an existing file was checked before.
func (st *store) openOrCreate() (*file, error) {
	if info, err := os.Stat(st.path); err != nil || info.Size() == 0 {
		if err := st.create(st.path, nil); err != nil {
			return nil, err
		}
	}
	f, err := openFile(st.path, st.log)
	if isDiskError(err) {
		return openReadOnly(st.path, st.log, err)
	}
	return f, err
}

// create makes a new file at a path. It writes a temporary file, which fill may add to
// (nil: nothing), syncs it and renames it. So a power cut leaves the complete file or none.
func (st *store) create(path string, fill func(*file) error) error {
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

// lockShared fails with ErrLocked if another process has the file open for writing.
// bbolt uses the same lock.
func lockShared(file *os.File) error { return flock(file, syscall.LOCK_SH) }

// lockExclusive locks the file against all other processes, also those that only read.
func lockExclusive(file *os.File) error { return flock(file, syscall.LOCK_EX) }

// flock takes the lock that bbolt uses, without waiting; closing the file releases it.
// ErrLocked comes with the process that has the lock, if /proc/locks has it.
func flock(file *os.File, how int) error {
	err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	if pid := lockHolder(file); pid != "" {
		return fmt.Errorf("%w: process %s", ErrLocked, pid)
	}
	return ErrLocked
}

// lockHolder returns the ID of the process that has the lock, "" if it is unknown. A line of
// /proc/locks is "1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF".
func lockHolder(file *os.File) string {
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	inode := fmt.Sprintf(":%d", info.Sys().(*syscall.Stat_t).Ino)
	locks, _ := os.ReadFile("/proc/locks") // after an error there are no lines
	for line := range strings.Lines(string(locks)) {
		if f := strings.Fields(line); len(f) > 5 && f[1] == "FLOCK" && strings.HasSuffix(f[5], inode) {
			return f[4]
		}
	}
	return ""
}

// shrinkAbove is the size from which an empty file is replaced by a new one. Below it,
// the space saved is not worth the writes.
const shrinkAbove = 8 << 20 // bytes

// shrink replaces the file by a new one if it has grown and holds no block: a file of
// bbolt never shrinks by itself. c has the metadata of the new file; rejected items are
// copied.
func (f *file) shrink(c change) error {
	info, err := os.Stat(f.path)
	// bbolt doubles the size of its files. With a factor below four, the new file could
	// be above the limit again, and each commit would replace it.
	if err != nil || info.Size() < max(shrinkAbove, 4*f.rejects.size) || f.size > 0 {
		return err
	}
	st := store{path: f.path, log: f.log}
	if err := f.endWriting(errReopened); err != nil {
		return err
	}
	err = st.create(f.path, func(fresh *file) error {
		if err := fresh.copyRejects(f.path); err != nil {
			return err
		}
		_, err := fresh.write(c)
		return err
	})
	return errors.Join(err, f.open()) // the new one, or still the old
}

// reopen opens the file again after a failed commit, because the commit may be on disk
// nevertheless. It reports false if the structure of the file is damaged. After an error
// the file can still be read as before, as far as the disk can.
func (f *file) reopen() (ok bool, err error) {
	if err := f.endWriting(errReopened); err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			f.readOnlyCause = err
			f.lockReader() // if it fails, another process has the file, and inspect reports that
		}
	}()
	if err := f.checkWritable(); err != nil {
		return false, err
	}
	f.unlockReader()
	st := store{path: f.path, log: f.log}
	if found, err := st.inspect(); err != nil || found.condition != intact {
		return false, err
	}
	return true, f.open()
}

// checkWritable returns why the file cannot be opened for writing, before inspect spends
// time on reading all of it.
func (f *file) checkWritable() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|syscall.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it will be created
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// damagedValues are values that fail their checksums in a file with an intact structure,
// as after a flipped bit.
type damagedValues struct {
	blocks [2][]uint64 // by lane: keys of blocks that are not acknowledged
	tails  [2]bool
	gaps   bool
}

// count is the number of damaged values.
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

// repair removes damaged values from a file with an intact structure and declares their
// readings as gaps in the same commit. It finds those readings by the seqs of the
// neighbouring blocks, which a later start may not have any more. If the disk cannot be
// written the values stay, and each is reported when it is read.
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

// remove deletes the damaged values and stores the gaps and an event in one commit.
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

// appendEvent returns the change that adds an event after the alarms of a file that is
// not in use yet. The event gets into one block together with the items of the tail.
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

// putEvent stores an event in a new file that is not in use yet.
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
