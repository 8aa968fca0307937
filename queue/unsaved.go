package queue

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Unsaved is what a queue could not write before it was closed. The queue that the same
// process opens next takes it over ([Options].Unsaved), so that a reload loses no reading
// when the disk fails or hangs.
type Unsaved struct {
	err      error  // of Close; nil: everything was written
	hangs    bool   // Close has not returned: the file is still locked
	boot     string // the start in which the closed queue ran
	path     string // of its file
	clientID string

	items        [2][]Item // by lane, oldest first
	rejects      []Item    // rejected, oldest first
	gaps         []Gap     // nil: the file has them all
	firstWaiting [2]uint64 // by lane: lower numbers are acknowledged, even if the file's cursor is lower
	// file identifies the file in which firstWaiting is valid; nil: there is none, or it
	// is unknown.
	file os.FileInfo
}

// Unsaved returns what is only in memory. closed is the error of Close, or the reason for
// not waiting for Close any longer; then hangs is true.
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
		left.file, _ = os.Stat(q.opened.file.path) // after an error firstWaiting is not used
	}
	for _, it := range q.rejects.pending {
		if !q.rejects.acked[it.number] {
			left.rejects = append(left.rejects, it.Item)
		}
	}
	if q.gaps.dirty || q.storage.writing { // a commit in progress has cleared dirty, but may never end
		left.gaps = q.gaps.values()
	}
	return left
}

// Err returns why not everything was written, nil if it was. It may be called on nil.
func (l *Unsaved) Err() error {
	if l == nil {
		return nil
	}
	return l.err
}

// count is the number of readings and events, with the rejected ones.
func (l *Unsaved) count() int { return len(l.items[0]) + len(l.items[1]) + len(l.rejects) }

// firstIn returns firstWaiting if the file at the path is the one that it is valid for,
// else zeros.
func (l *Unsaved) firstIn(path string) (first [2]uint64) {
	if l == nil || l.file == nil {
		return first
	}
	if info, err := os.Stat(path); err == nil && os.SameFile(info, l.file) {
		return l.firstWaiting
	}
	return first
}

// nextBoot makes the name of the next start without access to the disk.
func (l *Unsaved) nextBoot() string {
	count, _, _ := strings.Cut(l.boot, "-")
	n, _ := strconv.ParseUint(count, 10, 32)
	return bootName(n + 1)
}

// takeUnsaved adds what an earlier queue of this process could not write. Readings get
// new numbers after those of the file. If the client ID or the path has changed, they are
// logged as lost instead.
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
	q.log.Info("unwritten readings stay in memory", "readings", l.count(), "why", fmt.Sprint(l.err))
}
