package work

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// ring is the limit of what a file can do: it is filled with zeros beforehand, so that
// neither its size nor its blocks ever change; a record of 16 bytes per reading; one
// fdatasync for all readings of syncEvery, one for an alarm. It cannot grow, detect gaps or
// repair damage.
type ring struct {
	f    *os.File
	stop chan struct{}
	done chan struct{}

	mu         sync.Mutex
	group      []byte // not written yet
	at         int64  // offset of the group
	head, tail uint64 // number of readings taken, number of readings put
	saved      uint64 // head on disk
	syncs      int
	lazy       int // ticks in which only head has moved a little
	err        error
}

const (
	ringSize   = 32 << 20
	ringHeader = 4096 // a page with the position of the oldest reading
	ringRecord = 16
)

func openRing(path string, backlog int) (*ring, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(make([]byte, ringSize)); err != nil {
		return nil, err
	}
	r := &ring{f: f, stop: make(chan struct{}), done: make(chan struct{}), tail: uint64(backlog), at: ringHeader}
	go r.run()
	return r, f.Sync()
}

// run writes the group periodically.
func (r *ring) run() {
	defer close(r.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
			r.mu.Lock()
			if r.dueLocked() {
				r.flushLocked()
			}
			r.mu.Unlock()
		}
	}
}

// dueLocked delays writing the head for up to a minute while few readings are taken.
func (r *ring) dueLocked() bool {
	r.lazy++
	return len(r.group) > 0 || r.head-r.saved > 100 || r.lazy >= int(time.Minute/syncEvery)
}

func (r *ring) put(reading sensors.Reading) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := binary.BigEndian.AppendUint64(nil, math.Float64bits(reading.Value))
	b = binary.BigEndian.AppendUint64(b, uint64(reading.At.Unix)<<16|uint64(len(reading.Stream)))
	r.group = append(r.group, b...)
	r.tail++
	if reading.Priority == sensors.Alarm {
		r.flushLocked()
	}
	return r.err
}

// flushLocked writes the group, with its checksum at the end, and the head.
func (r *ring) flushLocked() {
	if len(r.group) == 0 && r.head == r.saved {
		return
	}
	if len(r.group) > 0 {
		sum := make([]byte, ringRecord)
		binary.BigEndian.PutUint32(sum, crc32.ChecksumIEEE(r.group))
		r.group = append(r.group, sum...)
		if r.at+int64(len(r.group)) > ringSize {
			r.at = ringHeader
		}
		r.writeLocked(r.group, r.at)
		r.at += int64(len(r.group))
		r.group = r.group[:0]
	}
	if r.head != r.saved {
		r.writeLocked(binary.BigEndian.AppendUint64(nil, r.head), 0)
		r.saved = r.head
	}
	r.syncs++
	r.lazy = 0
	if err := syscall.Fdatasync(int(r.f.Fd())); err != nil {
		r.err = err
	}
}

func (r *ring) writeLocked(b []byte, at int64) {
	if _, err := r.f.WriteAt(b, at); err != nil {
		r.err = err
	}
}

func (r *ring) take(_ context.Context, limit int) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(uint64(limit), r.tail-r.head)
	r.head += n
	return int(n), r.err
}

func (r *ring) backlog() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.tail - r.head)
}

func (r *ring) commits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.syncs
}

func (r *ring) close() error {
	close(r.stop)
	<-r.done
	return r.f.Close()
}
