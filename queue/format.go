package queue

import (
	"errors"
	"hash/crc32"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A block is a run of readings of one lane, the value of one key:
//
//	offset  size     field
//	     0  1        version, 2
//	     1  4        CRC-32C (Castagnoli) of all that follows, big endian
//	     5  1        flags
//	     6  uvarint  number of the first reading in its lane
//	        uvarint  count of the readings, 1 to 1024
//	        varint   Unix time of the first reading, milliseconds
//	        uvarint  n words, then n times: uvarint length, bytes
//	        uvarint  n streams, then n times: boot, kernel, stream, unit, each a
//	                 uvarint index of the words; 1 byte priority
//	        ...      the readings, count times
//	        uvarint  n gaps, then n times: stream, from, count, to-from: uvarint
//
// From offset 6 on, fields follow one another without padding. uvarint and varint
// are those of encoding/binary. A reading is
//
//	size     field
//	uvarint  head: stream<<4 | head bits
//	1        more bits, if headMore
//	varint   seq, less the expected one, if headSeq
//	uvarint  number, less the expected one, if headNumber
//	varint   Unix time in milliseconds, less the expected one
//	...      what the more bits announce, in the order of the bits
//	varint   digits of the value, less those before, if headDigits
//
// A reading is stored as its difference from what was to be expected: the next
// number, the next seq of its stream, the time that its stream's pace predicts,
// the decimal digits of the value before. A hygrometer's reading takes four bytes.
const (
	blockVersion = 2
	blockItems   = 1024 // readings in a block, at most
	blockWords   = 7 * blockItems
)

const (
	flagThinned  = 1 << iota // every second reading may be missing: gaps say which
	flagRejected             // one item that the broker rejected: number is its place in the bucket aside
	flagDeclared             // the same, and a gap has declared it
	knownFlags   = 1<<iota - 1
)

// The head of a reading is stream<<4 and these bits.
const (
	headMore   = 1 << iota // a byte of the more bits follows
	headSeq                // varint: seq, less the expected
	headNumber             // uvarint: number, less the expected
	headDigits             // varint: the value's digits, less those before
	headBits   = 4
)

// The more bits, each with what follows it, in this order.
const (
	moreErr      = 1 << iota // uvarint: the error, an index of words
	moreState                // uvarint: the state, an index of words; else as before
	moreClock                // 1 byte: the clock from here on
	moreNoUptime             // nothing: the reading has no uptime
	moreDrift                // varint: ms of uptime less ms of unix, from here on
	moreFloat                // 8 bytes: the value, IEEE 754
	morePlaces               // 1 byte: the decimal places of the stream from here on; the digits before count as 0
	moreEvent                // uvarint twice: the event and its details, indexes of words; or see noEvent
)

// noEvent is the event of a reading that says who changed it: in place of the details
// follow By, an index of words, and For, a uvarint of milliseconds. A version from
// before it takes such a block for a damaged one, and keeps its file.
const noEvent = ""

// powers of ten, by the decimal places of a value: value = digits / powers[places].
// No sensor here has more than nine; what has more is stored as a float.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// castagnoli is the polynomial for which ARM and x86 have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// track is what a stream's next reading is expected to be.
type track struct {
	boot, kernel, stream, unit string // of all its readings in the block
	priority                   sensors.Priority

	seq    uint64 // of the reading before; the next one is expected to follow it
	unix   int64  // ms, of the reading before
	pace   int64  // ms, between the last two
	places byte   // decimal places of the value
	digits int64  // of the value before, with these places
	state  string // of the reading before
}

// next is the time at which the next reading is expected.
func (t *track) next() int64 { return t.unix + t.pace }

// setTime notes the time of a reading.
func (t *track) setTime(unix int64, first bool) {
	if !first {
		t.pace = unix - t.unix
	}
	t.unix = unix
}

// common is what readings of all streams share.
type common struct {
	number uint64        // of the next reading
	clock  clock.Quality // of the reading before
	drift  int64         // ms of uptime less ms of unix, of the last reading that has an uptime
}

// streamKey tells streams apart. In a block all fields count; where streams are
// followed through the file only boot and stream do, and the rest is empty.
type streamKey struct {
	boot, kernel, stream, unit string
	priority                   sensors.Priority
}

// A run is what a block holds: readings in the order of their numbers, at
// least one, and what was thinned out between them.
type run struct {
	items   []Item
	gaps    []Gap // of streams that have a reading in the run, thinned ones
	thinned bool  // an eviction has been here: gaps may still be empty, where all was kept

	rejected, declared bool // of an item that was rejected
}

// last is the number of the run's last reading, the block's key.
func (r run) last() uint64 { return r.items[len(r.items)-1].number }

// errMalformed is a block whose checksum is right and whose content is not: it was
// written by another program, or by a mistake of this one.
var errMalformed = errors.New("block makes no sense")

// A header is what is known of a block without reading it.
type header struct {
	number  uint64 // of the first reading
	count   int    // of readings, at most blockItems
	thinned bool   // as in run

	rejected, declared bool
}
