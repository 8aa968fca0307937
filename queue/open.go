package queue

import (
	"context"
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

// Open opens the queue file, or creates it. It starts no goroutine: see Run.
//
// A damaged file is no error: its intact records are copied into a new file, and the
// damaged file is kept under another name. A disk that cannot be written is no error
// either: the file is read, and new readings stay in memory until a write succeeds.
// Both are logged and reported as events. The errors are those that a person has to
// fix: another process has the file open ([ErrLocked]), or the path cannot be used,
// as when it is a directory or permission is missing ([ErrPath]).
func Open(opt Options, log *slog.Logger) (*Queue, error) {
	return OpenContext(context.Background(), opt, log)
}

// OpenContext is Open for a process that is told to stop when ctx is done. If the process then
// ends while it opens the file, the next start does not count that as a crash. This applies also
// to later openings, after an error of the disk. OpenContext returns ctx.Err() only if ctx is
// done at its call, because a step that works on the disk cannot be interrupted.
func OpenContext(ctx context.Context, opt Options, log *slog.Logger) (*Queue, error) {
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
		stopping: ctx,
		stopped:  make(chan struct{}),
	}
	w := writer{q}
	err := w.openFirst()
	defer func() {
		if err == nil || isDiskError(err) {
			q.takeUnsaved(opt.Unsaved)
		}
	}()
	switch {
	case err == nil:
		return q, nil
	case isDiskError(err):
		w.countStart()
		q.storage.failing, q.storage.lastCommit = true, time.Now()
		q.log.Error("storage fails: readings are kept in memory", "err", err)
		q.reportLocked("storage", opt.Clock.Now(), jsonObject("state", "fails", "error", err.Error()))
		return q, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w %s: %w: let the user that holdfast runs as write to the folder, or set queue.path",
			ErrPath, opt.Path, err)
	case isPathError(err):
		return nil, fmt.Errorf("%w %s: %w: set queue.path", ErrPath, opt.Path, err)
	case errors.Is(err, ErrLocked):
		return nil, fmt.Errorf("queue %s: %w: end that process, or set another queue.path", opt.Path, err)
	default:
		return nil, fmt.Errorf("queue %s: %w", opt.Path, err)
	}
}

// errDiskHangs means that the Queue of the configuration before a reload still has the file open.
var errDiskHangs = fmt.Errorf("%w: the disk hangs, and the configuration of before still waits for it", syscall.EIO)

// openFirst opens the file for the first time and creates its folder if necessary. If
// the disk cannot create the folder, the error of opening the file is returned instead:
// it says more.
func (w writer) openFirst() error {
	if err := w.stopping.Err(); err != nil {
		return err
	}
	if left := w.opt.Unsaved; left != nil && left.hangs {
		w.boot = left.nextBoot() // countStart would access the disk that hangs
		return errDiskHangs
	}
	if err := os.MkdirAll(filepath.Dir(w.opt.Path), 0o700); err != nil && !isDiskError(err) {
		return err
	}
	return w.openFile()
}

// ErrPath means that no queue file can be used at the path until a person changes the
// path or what is there. Open wraps it together with the path and the cause.
var ErrPath = errors.New("queue")

// isPathError reports whether the path cannot have a queue file, however often Open
// tries. So Open fails.
func isPathError(err error) bool {
	for _, errno := range [...]syscall.Errno{syscall.EISDIR, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, errNotQueueFiles)
}

// isDiskError reports whether the disk is at fault, not the path. The disk may work
// again later, so the queue works in memory until then.
func isDiskError(err error) bool {
	for _, errno := range [...]syscall.Errno{syscall.EROFS, syscall.ENOSPC, syscall.EIO, syscall.EDQUOT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// openFile opens the queue file, or the file that replaces it, and loads its state.
// What is in memory is newer than the file and is kept.
func (w writer) openFile() error {
	st := store{path: w.opt.Path, maxQuarantined: w.opt.MaxSize, log: w.log, now: time.Now(),
		newEvent: w.newEvent, clientID: w.opt.ClientID}
	w.mu.Lock()
	st.hadFile, st.firstWaiting = w.opened.file != nil || w.opened.detached, w.opt.Unsaved.firstIn(w.opt.Path)
	for p := range w.lanes {
		st.acked[p] = w.ackedLocked(&w.lanes[p])
	}
	w.mu.Unlock()
	// Opening may take long, so mu is not held. Meanwhile Put adds to memory;
	// adoptLocked renumbers what it added.
	f, k, events, err := st.open(w.stopping)
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
	for _, e := range events {
		w.reportLocked(e.name, w.opt.Clock.Now(), e.details)
	}
	if err := f.readOnly(); err != nil {
		w.storage.lastCommit = time.Now()
		w.storageLocked(err)
	}
	return nil
}

// newEvent numbers and stamps an event that opening the file stores in it directly,
// because the lanes are not loaded yet.
func (w writer) newEvent(n storageEvent) Item {
	w.countStart()
	w.mu.Lock()
	defer w.mu.Unlock()
	it := w.eventLocked(w.opt.Clock.Now())
	it.Event, it.Details = n.name, n.details
	return it
}

// adoptLocked makes the state of a newly opened file the state of the queue. Items in
// memory get new numbers after those of the file. Those that Peek has returned but that
// are not acknowledged are returned again.
func (w writer) adoptLocked(k fileState) {
	w.opened.generation++
	for p := range w.lanes {
		// Items read from the old file are kept only if the new file has no readings in
		// this lane. Otherwise they would be in the lane twice.
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

// detachLocked lets the queue work in memory only, as after a start without a disk.
// Once the file can be opened again, its readings are sent before those in memory.
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

// reconcile opens the file again after a failed commit and finds out which part of the
// commit is on disk. mu is held while the lanes are updated, so Put waits for that.
func (w writer) reconcile() error {
	if err := w.restoreFile(); err != nil {
		return err
	}
	ok, err := w.opened.file.reopen()
	if err != nil {
		return err
	}
	if !ok {
		return w.openFile() // as at a start: it salvages the intact records
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

// reloadLocked loads the state of the file and returns with mu held, also after an
// error. It reads without the lock, so that a slow disk does not block Put, and reads
// again if something was acknowledged meanwhile. The last attempt holds the lock.
func (w writer) reloadLocked() (k fileState, err error) {
	first := [2]uint64{}
	for range readAttempts {
		if k, err = w.opened.file.loadState(first); err != nil {
			w.mu.Lock()
			return k, err
		}
		w.mu.Lock()
		// If something was acknowledged during the read, it was counted as waiting.
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

// restoreFile writes the queue file again if another program has deleted or replaced it.
func (w writer) restoreFile() error {
	why := w.opened.file.inPlace()
	if !errors.Is(why, errDeleted) && !errors.Is(why, errReplaced) {
		return nil // opening the file finds any other fault
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

// restoreStartCount writes the start counter again if it was deleted with the folder.
func (w writer) restoreStartCount() {
	path := filepath.Join(filepath.Dir(w.opt.Path), "starts")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	count, _, _ := strings.Cut(w.boot, "-")
	if err := replaceFile(path, []byte(count+"\n")); err != nil {
		w.log.Warn("the count of starts could not be restored: it begins at 1 again", "err", err)
	}
}

// countStart counts this start and makes its name (Queue.boot), once. It is not called
// before the file is known to be free or the disk has failed, so that an agent that finds
// the file locked is not counted. If the counter cannot be read or written, the name is
// unique nevertheless: it has random digits.
func (w writer) countStart() {
	if w.boot != "" {
		return
	}
	dir := filepath.Dir(w.opt.Path)
	n, err := nextStart(dir)
	if n == 0 {
		n = 1
	} else {
		w.unclean = uncleanStart(dir, n)
	}
	if err != nil {
		w.log.Error("this start could not be counted: its number may repeat", "err", err)
	}
	w.boot = bootName(n)
}

// nextStart increments the start counter in the state directory and returns it, or 0 if
// the counter cannot be read. The counter is for people: the random digits in the name
// of a start keep it unique even if the counter repeats.
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

// stoppedFile names the file with the number of the last start that was shut down
// cleanly. Close writes it.
const stoppedFile = "stopped"

// uncleanStart returns the number of the previous start if a power cut, a crash or a kill
// ended it. It returns 0 if that start was shut down cleanly, or if the file does not
// exist yet: then it creates the file for the next start.
func uncleanStart(dir string, this uint64) (unclean uint64) {
	path := filepath.Join(dir, stoppedFile)
	text, err := readStateFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		replaceFile(path, fmt.Appendln(nil, this-1)) // after an error the next start tries again
		return 0
	}
	n, failed := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || failed != nil || n >= this-1 {
		return 0
	}
	return this - 1
}

// recordCleanStop records that this start was shut down cleanly. If that fails, the next
// start reports a crash that did not happen; nothing else depends on it.
func (w writer) recordCleanStop() {
	n, _, _ := strings.Cut(w.boot, "-")
	path := filepath.Join(filepath.Dir(w.opt.Path), stoppedFile)
	if err := replaceFile(path, []byte(n+"\n")); err != nil {
		w.log.Warn("the end of this start is not recorded: the next one will report it as a crash", "err", err)
	}
}

// bootName makes the name of a start from its count and eight random hexadecimal digits.
// They make it unique; they are not secret.
func bootName(n uint64) string {
	var digits [4]byte
	rand.Read(digits[:])
	return fmt.Sprintf("%d-%s", n, hex.EncodeToString(digits[:]))
}

// Close writes what is still in memory and closes the file. Call it after Run has
// returned, or without Run. The error says how many readings could not be written.
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
			w.recordCleanStop()
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

// save writes everything that is in memory, and opens the file again first if necessary.
// Close tries it twice: the first attempt may fail because the file has to be repaired.
func (w writer) save() error {
	if w.opened.file == nil {
		if err := w.openFile(); err != nil {
			return err
		}
	}
	if unusable, unreadable := w.needsReopen(); unusable {
		if err := w.reopen(unreadable); err != nil {
			return err
		}
	}
	return w.commitAll()
}

// commitAll commits until nothing is left in memory: the size of one commit is limited.
func (w writer) commitAll() error {
	for {
		if err := w.commit(true); err != nil || w.Stats().Memory == 0 {
			return err
		}
	}
}
