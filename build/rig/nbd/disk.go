// Package nbd is a disk with a volatile cache, served to a virtual machine over
// the network block device protocol.
//
// A write is durable once the machine has flushed it, or has asked for "forced
// unit access" (FUA). A power cut takes what is not durable: all of it, or a
// random part, sector by sector, as a card that loses its supply does. Killing
// a machine whose disk is a plain file is far too kind: the host's page cache
// keeps every write.
package nbd

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// sectorSize is the unit that a power cut leaves whole or loses.
const sectorSize = 512

var errPowerCut = errors.New("nbd: the power is cut")

// A Disk is a file behind a volatile cache. The file has what is durable.
type Disk struct {
	file *os.File
	size int64
	lies bool

	flushTakes atomic.Int64 // a time.Duration: see SetFlushTime

	mu      sync.Mutex
	cache   map[int64][]byte // by sector, not yet durable
	cuts    int              // so far; a session ends with the next one
	writes  int
	flushes int
}

// Open makes the file a disk. One that lies acknowledges every flush and makes
// nothing durable, as some cards do.
func Open(file string, lies bool) (*Disk, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Disk{file: f, size: st.Size() / sectorSize * sectorSize, lies: lies, cache: map[int64][]byte{}}, nil
}

// SetFlushTime says how long a flush takes, as on a card, before anything that it is
// for is durable. It may be called at any time.
func (d *Disk) SetFlushTime(t time.Duration) { d.flushTakes.Store(int64(t)) }

// Close closes the file. What was not durable is lost.
func (d *Disk) Close() error { return d.file.Close() }

// Usage counts what the machine asked for, and what a cut would risk now.
type Usage struct{ Writes, Flushes, Volatile int }

// Usage is the account since Open.
func (d *Disk) Usage() Usage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Usage{d.writes, d.flushes, len(d.cache)}
}

// Cut cuts the power: nothing that the machine still does has an effect, and
// each sector that is not durable survives with the chance keep. The same
// sectors and the same state of random give the same outcome.
func (d *Disk) Cut(keep float64, random *rand.Rand) (kept, lost int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cuts++
	for _, sector := range slices.Sorted(maps.Keys(d.cache)) {
		if random.Float64() >= keep {
			lost++
			continue
		}
		kept++
		if _, err := d.file.WriteAt(d.cache[sector], sector*sectorSize); err != nil {
			return kept, lost, err
		}
	}
	clear(d.cache)
	return kept, lost, nil
}

// session is the disk as one machine has it between two power cuts.
func (d *Disk) session() *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &session{d, d.cuts}
}
