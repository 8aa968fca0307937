package queue

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Open opens the queue, or makes it. It starts nothing: see Run.
//
// No damage stops it: what is intact in a damaged file is carried over into a
// new one, and the old one is kept aside. Of a disk that cannot be written, what
// is there is read; the rest stays in memory until it can be. The log and an event
// say so. The errors are what a person has to mend: a file that another process
// holds ([ErrLocked]), a folder in its place or one that may not be written
// ([ErrPath]).
func Open(opt Options, log *slog.Logger) (*Queue, error) {
	if opt.Clock == nil {
		opt.Clock = clock.NewTimekeeper(clock.TrustAuto)
	}
	q := &Queue{
		backlog: backlog{
			opt:     opt,
			log:     log,
			start:   time.Now(),
			arrived: make(chan struct{}, 1),
			work:    make(chan struct{}, 1),
			lanes:   [2]lane{newLane(), newLane()},
			rejects: rejects{next: 1},
			storage: storage{commitEnded: make(chan struct{})},
		},
		stopped: make(chan struct{}),
	}
	w := writer{q}
	err := w.openFirst()
	defer func() {
		if err == nil || diskTrouble(err) {
			q.takeUnsaved(opt.Unsaved)
		}
	}()
	switch {
	case err == nil:
		return q, nil
	case diskTrouble(err):
		w.countStart()
		q.storage.failing, q.storage.lastCommit = true, time.Now()
		q.log.Error("storage fails: readings are kept in memory", "err", err)
		q.reportLocked("storage", opt.Clock.Now(), jsonObject("state", "fails", "error", err.Error()))
		return q, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w %s: %w: let the user that holdfast runs as write to the folder, or set queue.path",
			ErrPath, opt.Path, err)
	case pathTrouble(err):
		return nil, fmt.Errorf("%w %s: %w: set queue.path", ErrPath, opt.Path, err)
	default:
		return nil, fmt.Errorf("queue %s: %w", opt.Path, err)
	}
}

// errHangs means that the queue of before has the file.
var errHangs = fmt.Errorf("%w: the disk hangs, and the configuration of before still waits for it", syscall.EIO)

// openFirst opens the file for the first time, and makes its folder if it has to. A
// disk that cannot make the folder is no error yet: opening the file says more.
func (w writer) openFirst() error {
	if left := w.opt.Unsaved; left != nil && left.hangs {
		w.boot = left.nextBoot()
		return errHangs
	}
	if err := os.MkdirAll(filepath.Dir(w.opt.Path), 0o700); err != nil && !diskTrouble(err) {
		return err
	}
	return w.openFile()
}

// ErrPath means that a person has to change the path of the queue, or what is there.
// What Open returns wraps it and says which.
var ErrPath = errors.New("queue")

// pathTrouble reports whether there can be no file at the path: no waiting helps,
// and so Open fails.
func pathTrouble(err error) bool {
	for _, errno := range [...]syscall.Errno{syscall.EISDIR, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, errNeverOurs)
}

// diskTrouble reports whether the disk is at fault, not the path: it may work again,
// and so the queue goes on in memory.
func diskTrouble(err error) bool {
	for _, errno := range [...]syscall.Errno{syscall.EROFS, syscall.ENOSPC, syscall.EIO, syscall.EDQUOT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// openFile opens the file, or the one in its place, and takes over what it
// knows. Everything in memory is newer and stays.
func (w writer) openFile() error {
	st := store{path: w.opt.Path, maxQuarantined: w.opt.MaxSize, log: w.log, now: time.Now(),
		newEvent: w.newEvent, clientID: w.opt.ClientID}
	w.mu.Lock()
	st.hadFile, st.firstWaiting = w.opened.file != nil || w.opened.detached, w.opt.Unsaved.firstIn(w.opt.Path)
	for p := range w.lanes {
		st.acked[p] = w.ackedLocked(&w.lanes[p])
	}
	w.mu.Unlock()
	// The disk works here without the lock. Put goes on in memory meanwhile; only the
	// numbers of what it puts change when the file is adopted.
	f, k, news, err := st.open()
	if err != nil {
		return err
	}
	w.countStart()
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.opened.file
	w.opened.file, w.storage.fileChecked, w.opened.detached = f, time.Now(), false
	old.close()
	w.adoptLocked(k)
	w.declareEndLocked(k.ends)
	w.opt.Unsaved = nil // its numbers are not those of a later file
	for _, n := range news {
		w.reportLocked(n.name, w.opt.Clock.Now(), n.details)
	}
	if err := f.readOnly(); err != nil {
		w.storage.lastCommit = time.Now()
		w.storageLocked(err)
	}
	return nil
}

// newEvent is one that is stored with the file, before there is a queue of it.
func (w writer) newEvent(n storageEvent) Item {
	w.countStart()
	w.mu.Lock()
	defer w.mu.Unlock()
	it := w.eventLocked(w.opt.Clock.Now())
	it.Event, it.Details = n.name, n.details
	return it
}

// adoptLocked puts what the file knows before what is in memory. What was
// issued from memory until now comes again, behind what is on disk.
func (w writer) adoptLocked(k fileState) {
	w.opened.generation++
	for p := range w.lanes {
		// What was read of the old file's blocks is kept only where the new file has
		// none: else it would be in the lane twice.
		old := w.lanes[p]
		waiting := old.mem.items()
		if k.lanes[p].disk.readings == 0 {
			waiting = slices.Concat(old.cache.head, waiting)
		}
		w.lanes[p] = k.lanes[p]
		l := &w.lanes[p]
		l.history, l.cache.seqs = old.history, old.ackedSeqs()
		for i := range l.mem.items() {
			l.mem.items()[i].generation = w.opened.generation
		}
		for _, it := range waiting {
			it.generation = w.opened.generation
			l.push(it)
		}
	}
	w.opened.owner = k.owner
	w.rejects.rebase(k.rejects)
	for _, g := range k.gaps {
		w.gaps.merge(g)
	}
	w.opt.Clock.Restore(k.boots)
	signal(w.arrived)
}

// detachLocked goes on in memory alone, as at a start without a disk. The file
// comes first again when it can be opened.
func (w writer) detachLocked() {
	var seen [2]seqs
	for p := range w.lanes {
		seen[p] = maps.Clone(w.ackedLocked(&w.lanes[p]))
	}
	old := w.opened.file
	w.opened.file, w.opened.detached = nil, true
	w.adoptLocked(fileState{lanes: [2]lane{newLane(), newLane()}})
	for p := range w.lanes {
		l := &w.lanes[p]
		l.history.acked, l.history.firstKept = seen[p], l.firsts()
	}
	old.close()
	w.log.Error("the queue file can be neither read nor written: what is in it waits, the rest goes on in memory",
		"file", old.path)
}

// reconcile opens the file again after a failed commit, and learns what of it
// is on disk. Put waits for that: the lanes must not move meanwhile.
func (w writer) reconcile() error {
	if err := w.restoreFile(); err != nil {
		return err
	}
	sound, err := w.opened.file.reopen()
	if err != nil {
		return err
	}
	if !sound {
		return w.openFile() // as at a start: what is intact is salvaged
	}
	k, err := w.reloadLocked() // takes the lock
	defer w.mu.Unlock()
	if err != nil {
		return err
	}
	for p := range w.lanes {
		w.lanes[p].reconcile(&k.lanes[p])
	}
	for _, g := range k.gaps {
		w.gaps.merge(g)
	}
	signal(w.arrived)
	return nil
}

// reloadLocked reads what the file knows and takes the lock, so that the lanes
// have not moved meanwhile. A disk that hangs does not hold the lock up, unless
// they move all the time.
func (w writer) reloadLocked() (k fileState, err error) {
	first := [2]uint64{}
	for range readAttempts {
		if k, err = w.opened.file.loadState(first); err != nil {
			w.mu.Lock()
			return k, err
		}
		w.mu.Lock()
		// What was acknowledged while the file was read would be counted as waiting.
		if now := [2]uint64{w.lanes[0].first, w.lanes[1].first}; now == first {
			return k, nil
		} else {
			first = now
		}
		w.mu.Unlock()
	}
	w.mu.Lock()
	k, err = w.opened.file.loadState([2]uint64{w.lanes[0].first, w.lanes[1].first})
	return k, err
}

// restoreFile puts a file back that was deleted or replaced under the agent.
func (w writer) restoreFile() error {
	why := w.opened.file.inPlace()
	if !errors.Is(why, errDeleted) && !errors.Is(why, errReplaced) {
		return nil // what else it is, is found when the file is opened
	}
	st := store{path: w.opened.file.path, log: w.log, now: time.Now()}
	n, err := st.restore(w.opened.file, why)
	if err != nil {
		return fmt.Errorf("%w: %w", why, err)
	}
	w.restoreStartCount()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reportLocked(n.name, w.opt.Clock.Now(), n.details)
	return nil
}

// restoreStartCount puts the count of starts back if it went with the folder.
func (w writer) restoreStartCount() {
	path := filepath.Join(filepath.Dir(w.opt.Path), "starts")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	count, _, _ := strings.Cut(w.boot, "-")
	if err := replaceFile(path, []byte(count+"\n")); err != nil {
		w.log.Warn("the count of starts could not be put back: it begins anew", "err", err)
	}
}

// countStart names this start, once it is known that it is one: an agent that cannot
// have the file is not counted. If the count cannot be read or written the start has
// a name all the same.
func (w writer) countStart() {
	if w.boot != "" {
		return
	}
	dir := filepath.Dir(w.opt.Path)
	n, err := nextStart(dir)
	if n == 0 {
		n = 1
	} else {
		w.unclean = startBefore(dir, n)
	}
	if err != nil {
		w.log.Error("this start could not be counted: its number may repeat", "err", err)
	}
	w.boot = bootName(n)
}

// nextStart counts this start in the state directory; 0: it cannot be read. The count
// is for people: random digits make the name of a start unique even if it repeats.
func nextStart(dir string) (uint64, error) {
	path := filepath.Join(dir, "starts")
	text, err := readStateFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	n++
	return n, replaceFile(path, fmt.Appendln(nil, n))
}

// stoppedFile names the file that has the number of the last start that was closed in
// order. It is written once a start, when it ends.
const stoppedFile = "stopped"

// startBefore is the number of the start before this one if that was not closed in
// order: a power cut, a crash or a kill ended it. It is 0 if it was, or if nothing is
// known of it: then the file is made, so that the next start knows.
func startBefore(dir string, this uint64) (unclean uint64) {
	path := filepath.Join(dir, stoppedFile)
	text, err := readStateFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		replaceFile(path, fmt.Appendln(nil, this-1)) // without it the next start knows nothing either
		return 0
	}
	n, failed := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || failed != nil || n >= this-1 {
		return 0
	}
	return this - 1
}

// noteStopped records that this start was closed in order. Nothing is lost if it cannot:
// then the next start reports a crash that was none.
func (w writer) noteStopped() {
	n, _, _ := strings.Cut(w.boot, "-")
	path := filepath.Join(filepath.Dir(w.opt.Path), stoppedFile)
	if err := replaceFile(path, []byte(n+"\n")); err != nil {
		w.log.Warn("the end of this start is not recorded: the next one will report it as a crash", "err", err)
	}
}

// bootName makes a name of a count. The digits are random, not secret.
func bootName(n uint64) string {
	var digits [4]byte
	rand.Read(digits[:])
	return fmt.Sprintf("%d-%s", n, hex.EncodeToString(digits[:]))
}

// Close writes what is still in memory and closes the file. Run has returned,
// or was never called. The error says what is lost with the process.
func (q *Queue) Close() error {
	q.mu.Lock()
	file := q.opened.file
	q.mu.Unlock()
	w := writer{q}
	var err error
	if file != nil {
		if err = w.save(); err != nil {
			err = w.save()
		}
		if err == nil {
			w.noteStopped()
		}
		err = errors.Join(err, q.opened.file.close())
	}
	n := q.Stats().Memory
	q.mu.Lock()
	n += q.rejects.onlyInMemory()
	q.mu.Unlock()
	if n > 0 {
		err = errors.Join(fmt.Errorf("%d readings were in memory only and are lost", n), err)
	}
	return err
}

// save writes everything, into a file that was opened again if it has to be. Close
// tries it twice: the first attempt may find the file in need of repair.
func (w writer) save() error {
	if w.opened.file == nil {
		if err := w.openFile(); err != nil {
			return err
		}
	}
	if wrong, blind := w.needsReopen(); wrong {
		if err := w.reopen(blind); err != nil {
			return err
		}
	}
	return w.commitAll()
}

// commitAll writes everything, in several commits where one would be too large.
func (w writer) commitAll() error {
	for {
		if err := w.commit(true); err != nil || w.Stats().Memory == 0 {
			return err
		}
	}
}
