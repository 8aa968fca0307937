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
//	     0  1        version, 3
//	     1  4        CRC-32C (Castagnoli) of all that follows, big endian
//	     5  1        flags
//	     6  uvarint  number of the first reading in its lane
//	        uvarint  count of the readings, 1 to 1024
//	        varint   Unix time of the first reading, milliseconds
//	        uvarint  n words, then n times: uvarint length, bytes
//	        uvarint  n streams, then n times, in the order of their first reading:
//	                 uvarint shared<<3 | stream bits
//	                 uvarint back, if streamBack
//	                 uvarint twice and 1 byte: boot and kernel, indexes of words, and
//	                 priority, if streamStart
//	                 uvarint: unit, an index of words, if streamUnit
//	                 uvarint length<<4 | ending
//	                 bytes: length of them
//	        ...      the readings, count times
//	        uvarint  n gaps, then n times: stream, from, count, to-from: uvarint
//
// From offset 6 on, fields follow one another without padding. uvarint and varint
// are those of encoding/binary. A reading is
//
//	size     field
//	uvarint  head: zigzag(stream, less the expected one)<<4 | head bits
//	1        more bits, if headMore
//	varint   seq, less the expected one, if headSeq
//	uvarint  number, less the expected one, if headNumber
//	varint   Unix time in milliseconds, less the expected one
//	...      what the more bits announce, in the order of the bits
//	varint   digits of the value, less those before, if headDigits
//
// A reading is stored as its difference from what was to be expected: the next
// number, the stream that followed last time, the next seq of the stream, the time
// that its pace predicts, the decimal digits of the value before. A hygrometer's reading
// takes four bytes.
//
// A block of a thousand streams has one reading of each, so a stream, too, is stored as
// its difference: from its model, which is the stream before it in the table, or as many
// streams before that one as back says. Its name has the first shared bytes of the
// model's name, then those that follow, then as many of the model's last bytes as ending
// says. Boot, kernel, priority and unit are the model's where no bit says otherwise; the
// first stream's model has none of these. The first reading of a stream is expected at
// the time of the reading before, and for the rest to be like the last one of the model.
// Such a reading takes seven bytes, with the name of its stream.
//
// A block needs no other one to be read: what damage takes is the blocks that it meets.
//
// Version 2, of files that older agents have left, is read and not written. There the
// names are among the words; a stream is five fields: boot, kernel, name, unit, each an
// index of words, and a byte of priority; the stream in a head is its index; and the
// first reading of a stream is expected at the time of the block's first one, with seq
// 1, digits 0, no decimal places and no state.
const (
	blockVersion = 3
	blockItems   = 1024 // readings in a block, at most
	blockWords   = 7 * blockItems
	maxShared    = 255 // bytes of a name that are those of the name before it, at most: so names have a bound

	oldVersion = 2
)

// The stream bits, below shared.
const (
	streamBack  = 1 << iota // back follows; else it is 0
	streamStart             // boot, kernel and priority follow
	streamUnit              // the unit follows
	streamBits  = 3

	endingBits = 4
	maxEnding  = 1<<endingBits - 1
	maxBack    = 7 // a sensor of several quantities: temperatures are like temperatures
)

const (
	flagThinned  = 1 << iota // every second reading may be missing: gaps say which
	flagRejected             // one item that the broker rejected: number is its place in the bucket aside
	flagDeclared             // the same, and a gap has declared it
	knownFlags   = 1<<iota - 1
)

// The head bits, below the stream.
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

	index    int    // in the table of streams
	model    *track // one of the streams before; an empty one for the first, nil in blocks of oldVersion
	back     int    // of the encoder: how many streams lie between the two
	sameName *track // of the encoder: the stream before with this name, of another boot, say; nil: none

	predicted
	follower *track // the stream that had the reading after this one's last; nil: none yet
}

// predicted is what the next reading of a stream is reckoned from: the one before.
type predicted struct {
	seq    uint64
	unix   int64  // ms
	pace   int64  // ms, between the last two
	places byte   // decimal places of the value
	digits int64  // of the value, with these places
	state  string // of a stream of states
}

// has reports whether an item is a reading of the stream. In a block all these fields
// tell streams apart.
func (t *track) has(it *Item) bool {
	return t.stream == it.Stream && t.boot == it.Boot && t.kernel == it.At.Kernel && t.unit == it.Unit &&
		t.priority == it.Priority
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
	last   *track        // of the reading before; nil: there is none
}

// expected is the index of the stream that the next reading is expected to be of, of
// so many streams that had one. It may be the next one, which had none.
func (c *common) expected(streams int) int {
	if c.last == nil || c.last.follower == nil {
		return streams
	}
	return c.last.follower.index
}

// begin sets what the first reading of a stream is expected to be: like the last one of
// its model, with the same seq. It returns the time expected; that of the block's first
// reading is unix.
func (c *common) begin(t *track, unix int64) int64 {
	if c.last == nil {
		return unix
	}
	t.predicted = t.model.predicted
	t.seq--
	return c.last.unix
}

// follow notes that a reading of a stream has come.
func (c *common) follow(t *track) {
	if c.last != nil {
		c.last.follower = t
	}
	c.last = t
	c.number++
}

// streamKey tells streams apart where they are followed through the file.
type streamKey struct{ boot, stream string }

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
