package queue

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Unsaved is what a queue could not write before it was closed. One that is opened
// after it in the same process takes it over: a disk that fails, or hangs, costs
// no reading at a reload.
type Unsaved struct {
	err      error  // of Close; nil: nothing is left
	hangs    bool   // Close has not ended: the file is still locked
	boot     string // of the queue that left it
	path     string // of its file
	clientID string

	items        [2][]Item // by lane, oldest first
	rejects      []Item    // rejected, oldest first
	gaps         []Gap     // nil: the file has them all
	firstWaiting [2]uint64 // what is older is acknowledged, also where the file says less
	// file is the file that firstWaiting are numbers of; nil: there is none, or it
	// cannot be known.
	file os.FileInfo
}

// Unsaved returns what is in memory alone. closed is what Close has returned, or
// why nobody waits for it any more.
func (q *Queue) Unsaved(closed error, hangs bool) *Unsaved {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := &Unsaved{err: closed, hangs: hangs, boot: q.boot, path: q.opt.Path, clientID: q.opt.ClientID}
	for p := range q.lanes {
		l := &q.lanes[p]
		left.items[p] = append([]Item(nil), l.unsynced()...)
		left.firstWaiting[p] = l.first
	}
	if q.opened.file != nil && !hangs {
		left.file, _ = os.Stat(q.opened.file.path) // without it the numbers say nothing
	}
	for _, it := range q.rejects.pending {
		if !q.rejects.acked[it.number] {
			left.rejects = append(left.rejects, it.Item)
		}
	}
	if q.gaps.dirty || q.storage.writing { // a commit under way may have taken the mark along, and hang
		left.gaps = q.gaps.values()
	}
	return left
}

// Err is why something is left, nil if nothing is.
func (l *Unsaved) Err() error {
	if l == nil {
		return nil
	}
	return l.err
}

// count counts the readings and events.
func (l *Unsaved) count() int { return len(l.items[0]) + len(l.items[1]) + len(l.rejects) }

// firstIn are the numbers below which all is acknowledged in a file.
func (l *Unsaved) firstIn(path string) (first [2]uint64) {
	if l == nil || l.file == nil {
		return first
	}
	if info, err := os.Stat(path); err == nil && os.SameFile(info, l.file) {
		return l.firstWaiting
	}
	return first
}

// nextBoot names a start that follows the one of before without asking the disk.
func (l *Unsaved) nextBoot() string {
	count, _, _ := strings.Cut(l.boot, "-")
	n, _ := strconv.ParseUint(count, 10, 32)
	return bootName(n + 1)
}

// takeUnsaved goes on with what another queue of this process has left, unless it
// was for another client ID or file: that is logged as lost. Readings get new
// numbers, behind what the file has.
func (q *Queue) takeUnsaved(l *Unsaved) {
	if l == nil || l.err == nil {
		return
	}
	if l.clientID != q.opt.ClientID || l.path != q.opt.Path {
		q.log.Error("readings of another client ID or queue were in memory only and are lost",
			"readings", l.count(), "client_id", l.clientID)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range l.items {
		for _, it := range l.items[p] {
			q.pushLocked(it)
		}
	}
	for _, it := range l.rejects {
		q.rejects.push(rejectedItem{Item: it, onlyInMemory: true}, q.start)
	}
	for _, g := range l.gaps {
		q.gaps.merge(g)
	}
	q.log.Info("what could not be written goes on in memory", "readings", l.count(), "why", fmt.Sprint(l.err))
}
