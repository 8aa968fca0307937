// Package nbd is a disk with a volatile cache, which a virtual machine accesses with the
// network block device protocol.
//
// A write is durable once the machine has flushed it, or has requested "forced unit access"
// (FUA). A power cut loses what is not durable: all of it, or a random part, sector by
// sector, like a card that loses its supply. Killing a machine whose disk is a plain file
// would lose nothing, because the host's page cache keeps every write.
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

// sectorSize is the unit that a power cut keeps or loses completely.
const sectorSize = 512

var errPowerCut = errors.New("nbd: the power is cut")

// A Disk is a file behind a volatile cache. The file has the durable data.
type Disk struct {
	file *os.File
	size int64
	lies bool

	flushTakes atomic.Int64 // a time.Duration: see SetFlushTime

	mu      sync.Mutex
	cache   map[int64][]byte // by sector, not yet durable
	cuts    int              // number of power cuts; each ends the session
	writes  int
	flushes int
}

// Open uses a file as a disk. A lying disk acknowledges every flush and makes nothing
// durable, as some cards do.
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

// SetFlushTime sets how long a flush takes, as on a card, before its data is durable. It
// may be called at any time.
func (d *Disk) SetFlushTime(t time.Duration) { d.flushTakes.Store(int64(t)) }

// Close closes the file. What is not durable is lost.
func (d *Disk) Close() error { return d.file.Close() }

// Usage counts the requests of the machine, and the sectors that a cut could lose now.
type Usage struct{ Writes, Flushes, Volatile int }

// Usage returns the counts since Open.
func (d *Disk) Usage() Usage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Usage{d.writes, d.flushes, len(d.cache)}
}

// Cut cuts the power: the machine's later requests have no effect, and each sector that is
// not durable survives with the probability keep. The same sectors and the same state of
// random give the same result.
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

// session starts the session of one machine, which ends with the next power cut.
func (d *Disk) session() *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &session{d, d.cuts}
}
