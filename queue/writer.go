package queue

import (
	"context"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

const (
	idleCursor   = time.Minute     // that the file may lag behind acknowledged alarms
	retryStorage = 5 * time.Second // between attempts while the disk fails
)

// writer is what the goroutine of Run keeps, under the queue's lock.
type writer struct {
	commits  uint64
	last     time.Time // the end of the last commit
	failing  bool      // the last commit failed
	saidDrop string    // the last reason for dropping that the log was told
}

// Run moves readings to disk when they have waited too long, until ctx is done.
func (q *Queue) Run(ctx context.Context) error {
	defer close(q.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.work:
		case <-timer.C:
		}
		wait, due := q.due()
		if due && wait <= 0 {
			q.commit(false)
			wait, due = q.due()
		}
		if !due {
			wait = time.Hour
		}
		timer.Reset(max(wait, 0))
	}
}

// due says how long the writer may wait, and whether there is anything to do.
func (q *Queue) due() (wait time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.file == nil {
		return 0, false
	}
	var at time.Time
	by := func(t time.Time) {
		if q.failing {
			t = later(t, q.last.Add(retryStorage))
		}
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	alarms, routine := &q.lanes[sensors.Alarm], &q.lanes[sensors.Routine]
	if alarms.mem.len() > 0 {
		if alarms.tried < alarms.next {
			return 0, true // even while the disk fails: Put waits for the answer
		}
		by(q.last)
	}
	if routine.mem.len() > 0 {
		by(q.routineDueLocked(routine))
	}
	if routine.dirty() || alarms.dirty() && alarms.owesDisk() {
		by(q.last.Add(q.opt.SyncEvery))
	}
	if alarms.dirty() {
		by(q.last.Add(idleCursor))
	}
	return time.Until(at), ok
}

// routineDueLocked is when the oldest routine reading in memory must be on its
// way to the disk: a little early, so that it is there in time.
func (q *Queue) routineDueLocked(l *lane) time.Time {
	if l.mem.len() >= spillEarly {
		return q.last
	}
	early := min(q.opt.SyncEvery/20, 250*time.Millisecond)
	return q.start.Add(l.mem.items()[0].put + q.opt.SyncEvery - early)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// commit writes what is due, and how far the broker has acknowledged, in one
// transaction. With all it writes everything.
func (q *Queue) commit(all bool) {
	q.mu.Lock()
	var c change
	for p := range q.lanes {
		c.lanes[p] = q.laneChangeLocked(sensors.Priority(p), all)
	}
	q.mu.Unlock()
	if c.empty() {
		return
	}

	evicted, err := q.file.write(c, q.opt.MaxSize)

	q.mu.Lock()
	defer q.mu.Unlock()
	q.last = time.Now()
	q.storageLocked(err)
	for p := range q.lanes {
		l := &q.lanes[p]
		l.tried = max(l.tried, c.lanes[p].tried)
		if err == nil {
			q.appliedLocked(sensors.Priority(p), c.lanes[p], evicted[p])
		}
	}
	q.wakePutLocked()
}

// wakePutLocked lets every waiting Put look again.
func (q *Queue) wakePutLocked() {
	close(q.tried)
	q.tried = make(chan struct{})
}

// laneChangeLocked is what a commit should do to a lane. The items are encoded
// here, under the lock, so that they may leave memory while the disk works.
func (q *Queue) laneChangeLocked(p sensors.Priority, all bool) laneChange {
	l := &q.lanes[p]
	c := laneChange{disk: l.disk}
	if l.dirty() {
		c.cursor = l.cursor()
	}
	if p == sensors.Routine && !all && l.mem.len() > 0 && time.Until(q.routineDueLocked(l)) > 0 {
		return c
	}
	items := l.mem.items()
	for len(items) > 0 {
		n := min(len(items), blockItems)
		c.blocks = append(c.blocks, block{last: items[n-1].number, data: encode(items[:n], q.start)})
		items = items[n:]
	}
	c.tried = l.next
	return c
}

// appliedLocked moves a lane to where a successful commit has put it.
func (q *Queue) appliedLocked(p sensors.Priority, c laneChange, evicted uint64) {
	l := &q.lanes[p]
	l.saved = max(l.saved, c.cursor)
	if n := len(c.blocks); n > 0 {
		l.spilled(c.blocks[n-1].last)
	}
	if evicted >= l.first {
		q.dropLocked(p, int(evicted+1-l.first), "max_size is reached")
		l.ack(evicted)
	}
}

// storageLocked says when the disk starts and stops failing.
func (q *Queue) storageLocked(err error) {
	if err == nil {
		q.commits++
	}
	switch failing := err != nil; {
	case failing && !q.failing:
		q.log.Error("storage fails: readings are kept in memory", "err", err)
	case !failing && q.failing:
		q.log.Info("storage works again")
	}
	q.failing = err != nil
}
