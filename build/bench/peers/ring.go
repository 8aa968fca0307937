package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Sizes of the ring's file: a header with the number of the last acknowledged reading, and
// slots that are overwritten in turn.
const (
	ringHeader = 4096
	ringSlot   = 128 // bytes: index, length, checksum, payload
	ringSlots  = 1 << 18
	slotHead   = 8 + 2 + 4
)

// ring is the limit of what a disk can do: a file of zeros with a fixed size, a slot for
// each reading, one fdatasync every five seconds, and the minimal client. Readings are in
// the page cache when put returns: SIGKILL loses none, a power cut those of five seconds.
// It has no lanes, no limits and no repair of damage, and stores payloads that were encoded
// elsewhere.
type ring struct {
	file   *os.File
	end    chan struct{} // closed by close
	synced chan struct{} // closed when sync has ended

	mu      sync.Mutex // guards the numbers, not the file
	last    uint64     // index of the newest reading, the first is 1
	sent    uint64
	acked   uint64
	dirty   bool
	arrived chan struct{}
}

func openRing(ctx context.Context, j job) (peer, error) {
	file, err := os.OpenFile(filepath.Join(j.Dir, "ring"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	r := &ring{file: file, end: make(chan struct{}), synced: make(chan struct{}), arrived: make(chan struct{}, 1)}
	if err := r.load(); err != nil {
		return nil, err
	}
	go r.sync()
	go minimal(ctx, j, r, j.Window/2)
	return r, nil
}

// load fills a new file, or reads an existing one.
func (r *ring) load() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		zeros := make([]byte, 1<<20)
		for at := int64(0); at < ringHeader+ringSlot*ringSlots; at += int64(len(zeros)) {
			if _, err := r.file.WriteAt(zeros, at); err != nil {
				return err
			}
		}
		return r.file.Sync()
	}
	var head [8]byte
	if _, err := r.file.ReadAt(head[:], 0); err != nil {
		return err
	}
	r.acked = binary.BigEndian.Uint64(head[:])
	for r.last = r.acked; ; r.last++ {
		if _, err := r.read(r.last + 1); err != nil {
			break // the slot is older, torn or empty
		}
	}
	r.sent = r.acked
	return nil
}

func slotAt(index uint64) int64 { return ringHeader + int64(index%ringSlots)*ringSlot }

// read returns a copy of the payload in a slot.
func (r *ring) read(index uint64) ([]byte, error) {
	b := make([]byte, ringSlot)
	if _, err := r.file.ReadAt(b, slotAt(index)); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(b[8:]))
	if binary.BigEndian.Uint64(b) != index || size > ringSlot-slotHead ||
		binary.BigEndian.Uint32(b[10:]) != crc32.ChecksumIEEE(b[slotHead:slotHead+size]) {
		return nil, fmt.Errorf("slot %d does not hold reading %d", index%ringSlots, index)
	}
	return b[slotHead : slotHead+size], nil
}

func (r *ring) put(_ int, payload []byte) error {
	if len(payload) > ringSlot-slotHead {
		return fmt.Errorf("a payload of %d bytes is too long for a slot", len(payload))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last-r.acked >= ringSlots {
		return errors.New("the ring is full")
	}
	b := make([]byte, 0, ringSlot)
	b = binary.BigEndian.AppendUint64(b, r.last+1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(payload))
	if _, err := r.file.WriteAt(append(b, payload...), slotAt(r.last+1)); err != nil {
		return err
	}
	r.last++
	r.dirty = true
	select {
	case r.arrived <- struct{}{}:
	default:
	}
	return nil
}

func (r *ring) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent < r.last
}

func (r *ring) next(ctx context.Context) []byte {
	for {
		r.mu.Lock()
		more := r.sent < r.last
		if more {
			r.sent++
		}
		index := r.sent
		r.mu.Unlock()
		if more {
			payload, err := r.read(index)
			if err != nil {
				fmt.Fprintln(os.Stderr, "ring:", err)
				return nil
			}
			return payload
		}
		select {
		case <-r.arrived:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *ring) done() {
	r.mu.Lock()
	r.acked++
	r.dirty = true
	r.mu.Unlock()
}

// sync writes the header and syncs the file every five seconds, if anything has changed.
func (r *ring) sync() {
	defer close(r.synced)
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-r.end:
			ended = true
		}
		r.mu.Lock()
		dirty, acked := r.dirty, r.acked
		r.dirty = false
		r.mu.Unlock()
		if !dirty {
			continue
		}
		_, err := r.file.WriteAt(binary.BigEndian.AppendUint64(nil, acked), 0)
		if err = errors.Join(err, syscall.Fdatasync(int(r.file.Fd()))); err != nil {
			fmt.Fprintln(os.Stderr, "ring:", err)
		}
	}
}

func (r *ring) close() error {
	close(r.end)
	<-r.synced
	return r.file.Close()
}
