package queue

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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
		opt:     opt,
		log:     log,
		start:   time.Now(),
		arrived: make(chan struct{}, 1),
		work:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		lanes:   [2]lane{newLane(), newLane()},
		writer:  writer{commitEnded: make(chan struct{})},
		rejects: rejects{next: 1},
	}
	err := q.openFirst()
	defer func() {
		if err == nil || diskTrouble(err) {
			q.takeUnsaved(opt.Unsaved)
		}
	}()
	switch {
	case err == nil:
		return q, nil
	case diskTrouble(err):
		q.countStart()
		q.writer.failing, q.writer.lastCommit = true, time.Now()
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

// openFirst opens the file for the first time.
func (q *Queue) openFirst() error {
	if left := q.opt.Unsaved; left != nil && left.hangs {
		q.boot = left.nextBoot()
		return errHangs
	}
	if err := os.MkdirAll(filepath.Dir(q.opt.Path), 0o700); err != nil && !diskTrouble(err) {
		return err
	}
	return q.openFile()
}

// ErrPath means that a person has to change the path of the queue, or what is
// there.
var ErrPath = errors.New("queue")

// pathTrouble says that there can be no file at the path.
func pathTrouble(err error) bool {
	for _, errno := range [...]syscall.Errno{syscall.EISDIR, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, errNeverOurs)
}

// diskTrouble says that the disk is at fault, not the path.
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
func (q *Queue) openFile() error {
	st := store{path: q.opt.Path, maxQuarantined: q.opt.MaxSize, log: q.log, now: time.Now(),
		newEvent: q.newEvent, clientID: q.opt.ClientID}
	q.mu.Lock()
	st.hadFile, st.firstWaiting = q.opened.file != nil || q.opened.detached, q.opt.Unsaved.firstIn(q.opt.Path)
	for p := range q.lanes {
		st.acked[p] = q.ackedLocked(&q.lanes[p])
	}
	q.mu.Unlock()
	f, k, news, err := st.open()
	if err != nil {
		return err
	}
	q.countStart()
	q.mu.Lock()
	defer q.mu.Unlock()
	old := q.opened.file
	q.opened.file, q.writer.fileChecked, q.opened.detached = f, time.Now(), false
	old.close()
	q.adoptLocked(k)
	q.declareEndLocked(k.ends)
	q.opt.Unsaved = nil // its numbers are not those of a later file
	for _, n := range news {
		q.reportLocked(n.name, q.opt.Clock.Now(), n.details)
	}
	if err := f.readOnly(); err != nil {
		q.writer.lastCommit = time.Now()
		q.storageLocked(err)
	}
	return nil
}

// newEvent is one that is stored with the file, before there is a queue of it.
func (q *Queue) newEvent(n storageEvent) Item {
	q.countStart()
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.eventLocked(q.opt.Clock.Now())
	it.Event, it.Details = n.name, n.details
	return it
}

// adoptLocked puts what the file knows before what is in memory. What was
// issued from memory until now comes again, behind what is on disk.
func (q *Queue) adoptLocked(k fileState) {
	q.opened.generation++
	for p := range q.lanes {
		old := q.lanes[p]
		waiting := old.mem.items()
		if k.lanes[p].disk.readings == 0 {
			waiting = slices.Concat(old.cache.head, waiting)
		}
		q.lanes[p] = k.lanes[p]
		l := &q.lanes[p]
		l.history, l.cache.seqs = old.history, old.ackedSeqs()
		for i := range l.mem.items() {
			l.mem.items()[i].generation = q.opened.generation
		}
		for _, it := range waiting {
			it.generation = q.opened.generation
			l.push(it)
		}
	}
	q.opened.owner = k.owner
	q.rejects.rebase(k.rejects)
	for _, g := range k.gaps {
		q.gaps.merge(g)
	}
	q.opt.Clock.Restore(k.boots)
	signal(q.arrived)
}

// reconcile opens the file again after a failed commit, and learns what of it
// is on disk. Put waits for that: the lanes must not move meanwhile.
func (q *Queue) reconcile() error {
	if err := q.restoreFile(); err != nil {
		return err
	}
	sound, err := q.opened.file.reopen()
	if err != nil {
		return err
	}
	if !sound {
		return q.openFile() // as at a start: what is intact is salvaged
	}
	k, err := q.reloadLocked() // takes the lock
	defer q.mu.Unlock()
	if err != nil {
		return err
	}
	for p := range q.lanes {
		q.lanes[p].reconcile(&k.lanes[p])
	}
	for _, g := range k.gaps {
		q.gaps.merge(g)
	}
	signal(q.arrived)
	return nil
}

// reloadLocked reads what the file knows and takes the lock, so that the lanes
// have not moved meanwhile. A disk that hangs does not hold the lock up, unless
// they move all the time.
func (q *Queue) reloadLocked() (k fileState, err error) {
	first := [2]uint64{}
	for range readAttempts {
		if k, err = q.opened.file.loadState(first); err != nil {
			q.mu.Lock()
			return k, err
		}
		q.mu.Lock()
		if now := [2]uint64{q.lanes[0].first, q.lanes[1].first}; now == first {
			return k, nil
		} else {
			first = now
		}
		q.mu.Unlock()
	}
	q.mu.Lock()
	k, err = q.opened.file.loadState([2]uint64{q.lanes[0].first, q.lanes[1].first})
	return k, err
}

// restoreFile puts a file back that was deleted or replaced under the agent.
func (q *Queue) restoreFile() error {
	why := q.opened.file.inPlace()
	if !errors.Is(why, errDeleted) && !errors.Is(why, errReplaced) {
		return nil // what else it is, is found when the file is opened
	}
	st := store{path: q.opened.file.path, log: q.log, now: time.Now()}
	n, err := st.restore(q.opened.file, why)
	if err != nil {
		return fmt.Errorf("%w: %w", why, err)
	}
	q.restoreStartCount()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reportLocked(n.name, q.opt.Clock.Now(), n.details)
	return nil
}

// restoreStartCount puts the count of starts back if it went with the folder.
func (q *Queue) restoreStartCount() {
	path := filepath.Join(filepath.Dir(q.opt.Path), "starts")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	count, _, _ := strings.Cut(q.boot, "-")
	if err := replaceFile(path, []byte(count+"\n")); err != nil {
		q.log.Warn("the count of starts could not be put back: it begins anew", "err", err)
	}
}

// countStart names this start, once it is known that it is one.
func (q *Queue) countStart() {
	if q.boot != "" {
		return
	}
	name, err := nextBoot(filepath.Dir(q.opt.Path))
	if name == "" {
		name = bootName(1)
	}
	if err != nil {
		q.log.Error("this start could not be counted: its number may repeat", "err", err)
	}
	q.boot = name
}

// nextBoot counts this start in the state directory and names it. The count is
// for people: the random digits make the name unique even if it repeats.
func nextBoot(dir string) (string, error) {
	path := filepath.Join(dir, "starts")
	text, err := readStateFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	n++
	return bootName(n), replaceFile(path, fmt.Appendln(nil, n))
}

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
	var err error
	if file != nil {
		if err = q.save(); err != nil {
			err = q.save()
		}
		err = errors.Join(err, q.opened.file.close())
	}
	if n := q.unsavedCount(); n > 0 {
		err = errors.Join(fmt.Errorf("%d readings were in memory only and are lost", n), err)
	}
	return err
}

// save writes everything, into a file that was opened again if it has to be.
func (q *Queue) save() error {
	if q.opened.file == nil {
		if err := q.openFile(); err != nil {
			return err
		}
	}
	if wrong, blind := q.needsReopen(); wrong {
		if err := q.reopen(blind); err != nil {
			return err
		}
	}
	return q.commitAll()
}

func (q *Queue) unsavedCount() int {
	n := q.Stats().Memory
	q.mu.Lock()
	defer q.mu.Unlock()
	return n + q.rejects.onlyInMemory()
}

// commitAll writes everything; a single commit has a bound.
func (q *Queue) commitAll() error {
	for {
		if err := q.commit(true); err != nil || q.Stats().Memory == 0 {
			return err
		}
	}
}
