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
// Readings are delta encoded: a reading is stored as its difference from the expected
// one. Expected are the next number, the stream that followed the previous stream last
// time, the next seq of that stream, the same interval as before, and the digits of the
// stream's previous value. The reading of a hygrometer takes four bytes.
//
// A block of a thousand streams has one reading of each, so streams are delta encoded,
// too. The model of a stream is the stream before it in the table or, if back is above 0,
// one that is back streams further up. The name of a stream is made of the first shared
// bytes of the model's name, the bytes in the table, and the last ending bytes of the
// model's name. Boot, kernel, priority and unit are those of the model unless a bit says
// otherwise; the model of the first stream is empty. The first reading of a stream is
// expected at the time of the reading before it, and otherwise to be equal to the last
// reading of the model. Such a reading takes seven bytes, with the name of its stream.
//
// A block can be decoded without the other blocks, so damage destroys only the blocks in
// which it is.
//
// Version 2 comes from older agents. It is read but not written. In it the names are
// among the words; a stream is five fields: boot, kernel, name and unit, each an index of
// words, and one byte of priority; a head contains the index of the stream; and the first
// reading of a stream is expected at the time of the block's first reading, with seq 1,
// digits 0, no decimal places and no state.
const (
	blockVersion = 3
	blockItems   = 1024 // readings in a block, at most
	blockWords   = 7 * blockItems
	maxShared    = 255 // bytes that a name shares with its model at most, so that the length of a name is bounded

	oldVersion = 2
)

// The stream bits, below shared.
const (
	streamBack  = 1 << iota // back follows; otherwise it is 0
	streamStart             // boot, kernel and priority follow
	streamUnit              // the unit follows
	streamBits  = 3

	endingBits = 4
	maxEnding  = 1<<endingBits - 1
	maxBack    = 7 // with sensors of several quantities, the last stream of the same quantity is a few streams back
)

const (
	flagThinned  = 1 << iota // every second reading may be missing; the gaps declare them
	flagRejected             // the block is one rejected item; number is its key in bucketRejects
	flagDeclared             // the same, and a gap has declared the item
	knownFlags   = 1<<iota - 1
)

// The head bits, below the stream.
const (
	headMore   = 1 << iota // a byte of the more bits follows
	headSeq                // varint: seq minus the expected seq
	headNumber             // uvarint: number minus the expected number
	headDigits             // varint: the value's digits minus those of the value before
	headBits   = 4
)

// The more bits, each with what follows it, in this order.
const (
	moreErr      = 1 << iota // uvarint: the error, an index of words
	moreState                // uvarint: the state, an index of words; otherwise it is as before
	moreClock                // 1 byte: the clock from here on
	moreNoUptime             // nothing follows; the reading has no uptime
	moreDrift                // varint: ms of uptime minus ms of unix, from here on
	moreFloat                // 8 bytes: the value, IEEE 754
	morePlaces               // 1 byte: the decimal places of the stream from here on; the digits before count as 0
	moreEvent                // uvarint twice: the event and its details, indexes of words; or see noEvent
)

// noEvent stands for the event of a reading that is not an event but has By or For. Instead
// of the details, By (an index of words) and For (a uvarint of milliseconds) follow. An
// agent that is too old to know this treats such a block as damaged, and keeps its file.
const noEvent = ""

// powers are the powers of ten by the decimal places of a value:
// value = digits / powers[places]. A value with more than nine places is stored as a float.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// castagnoli is used because ARM and x86 have an instruction for this polynomial.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A track is what the encoder and the decoder know of a stream: its names, and what its
// next reading is expected to be.
type track struct {
	boot, kernel, stream, unit string // of all its readings in the block
	priority                   sensors.Priority

	index    int    // in the table of streams
	model    *track // an earlier stream; an empty one for the first stream, nil in blocks of oldVersion
	back     int    // only in the encoder: how many streams are between this one and model
	sameName *track // only in the encoder: an earlier stream with this name, as of another boot; nil: none

	predicted
	follower *track // the stream of the reading that came after this one's last reading; nil: none yet
}

// predicted has the fields of a stream's previous reading that predict its next one.
type predicted struct {
	seq    uint64
	unix   int64  // ms
	pace   int64  // ms, between the last two
	places byte   // decimal places of the value
	digits int64  // the value multiplied by powers[places]
	state  string // of a stream of states
}

// has reports whether an item is a reading of the stream. Readings of a block that differ
// in any of these fields are of different streams.
func (t *track) has(it *Item) bool {
	return t.stream == it.Stream && t.boot == it.Boot && t.kernel == it.At.Kernel && t.unit == it.Unit &&
		t.priority == it.Priority
}

// next is the time at which the next reading is expected.
func (t *track) next() int64 { return t.unix + t.pace }

// setTime records the time of a reading, in Unix ms.
func (t *track) setTime(unix int64, first bool) {
	if !first {
		t.pace = unix - t.unix
	}
	t.unix = unix
}

// common is the prediction that does not depend on the stream.
type common struct {
	number uint64        // of the next reading
	clock  clock.Quality // of the previous reading
	drift  int64         // ms of uptime minus ms of unix, of the last reading that has an uptime
	last   *track        // of the previous reading; nil: there is none
}

// expected returns the index of the stream of which the next reading is expected. streams
// is the number of streams that had a reading; the result may be streams, the next stream
// in the table.
func (c *common) expected(streams int) int {
	if c.last == nil || c.last.follower == nil {
		return streams
	}
	return c.last.follower.index
}

// begin sets the prediction for the first reading of a stream: the last reading of its
// model, with the same seq. It returns the expected time in ms: that of the previous
// reading, or unix for the first reading of the block.
func (c *common) begin(t *track, unix int64) int64 {
	if c.last == nil {
		return unix
	}
	t.predicted = t.model.predicted
	t.seq--
	return c.last.unix
}

// follow records that the reading was of stream t.
func (c *common) follow(t *track) {
	if c.last != nil {
		c.last.follower = t
	}
	c.last = t
	c.number++
}

// streamKey identifies a stream in the whole file.
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
