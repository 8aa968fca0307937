package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// decode returns the content of a block. data may be any bytes: malformed ones cause an
// error and nothing else, and the memory that decode allocates is bounded by their length.
// The run does not share memory with data.
func decode(data []byte) (run, error) {
	h, rest, err := readHeader(data)
	if err != nil {
		return run{}, err
	}
	d := decoder{rest: rest, old: data[0] == oldVersion}
	d.common.number = h.number
	d.unix = d.varint()
	d.readWords()
	if d.old {
		d.readOldStreams()
	} else {
		d.readStreams()
	}
	if h.count > blockItems || h.count > len(d.rest) { // a reading takes at least one byte
		return run{}, errMalformed
	}
	r := run{items: make([]Item, h.count), thinned: h.thinned, rejected: h.rejected, declared: h.declared}
	for i := range r.items {
		d.item(&r.items[i])
	}
	r.gaps = d.readGaps()
	if d.bad || len(d.rest) > 0 || len(r.items) == 0 {
		return run{}, errMalformed
	}
	return r, nil
}

// readHeader checks a block's version and checksum and returns the header and the bytes
// after it. A block of an unknown version is an error, like a damaged one.
func readHeader(data []byte) (h header, rest []byte, err error) {
	if len(data) < 6 {
		return h, nil, errors.New("block is cut short")
	}
	if v := data[0]; v != blockVersion && v != oldVersion {
		return h, nil, fmt.Errorf("block has version %d, this program knows %d and %d", v, oldVersion, blockVersion)
	}
	if crc32.Checksum(data[5:], castagnoli) != binary.BigEndian.Uint32(data[1:]) {
		return h, nil, errors.New("block fails its checksum")
	}
	d := decoder{rest: data[6:]}
	flags := data[5]
	h.thinned, h.rejected, h.declared = flags&flagThinned != 0, flags&flagRejected != 0, flags&flagDeclared != 0
	h.number = d.uvarint()
	h.count = d.count(blockItems)
	if d.bad || flags&^knownFlags != 0 {
		return h, nil, errMalformed
	}
	return h, d.rest, nil
}

// A decoder reads a block from front to back. Its methods return no errors: malformed
// bytes set bad, and decode checks that at the end.
type decoder struct {
	old    bool     // the block has oldVersion
	rest   []byte   // not read yet
	bad    bool     // the block is malformed; results are not valid
	unix   int64    // ms, of the first reading
	common common   // the same as in the encoder before the next reading
	words  []string // the texts, by index
	tracks []track  // the streams, by index
	seen   []bool   // by stream: it had a reading
	known  int      // how many streams had a reading; in blocks of blockVersion these are the first ones
}

// readWords reads the table of texts to which the readings refer. Each text is in it once.
func (d *decoder) readWords() {
	d.words = make([]string, d.count(blockWords))
	for i := range d.words {
		d.words[i] = string(d.take(d.count(len(d.rest))))
	}
}

// readStreams reads the table of streams. Each name is a separate string, so that a
// reading that stays in memory does not keep the whole table there.
func (d *decoder) readStreams() {
	n := d.count(blockItems)
	d.tracks, d.seen = make([]track, n), make([]bool, n)
	for i := range d.tracks {
		t, back := &d.tracks[i], uint64(0)
		t.index = i
		head := d.uvarint()
		if head&streamBack != 0 {
			back = d.uvarint()
		}
		switch {
		case i == 0:
			t.model = &track{}
		case back < uint64(i):
			t.model = &d.tracks[i-1-int(back)]
		default:
			d.bad = true
			return
		}
		d.readStream(t, head)
		if d.bad {
			return
		}
	}
}

// readStream reads the fields of a stream that come after its head and back.
func (d *decoder) readStream(t *track, head uint64) {
	m := t.model
	t.boot, t.kernel, t.unit, t.priority = m.boot, m.kernel, m.unit, m.priority
	if head&streamStart != 0 {
		t.boot, t.kernel, t.priority = d.word(), d.word(), sensors.Priority(d.take(1)[0])
	}
	if head&streamUnit != 0 {
		t.unit = d.word()
	}
	own := d.uvarint()
	shared, ending := head>>streamBits, own&maxEnding
	own >>= endingBits
	if t.priority > sensors.Alarm || shared > maxShared || shared+ending > uint64(len(m.stream)) ||
		own > uint64(len(d.rest)) {
		d.bad = true
		return
	}
	t.stream = m.stream[:shared] + string(d.take(int(own))) + m.stream[uint64(len(m.stream))-ending:]
}

// readOldStreams is readStreams for oldVersion. Each begins at the time of the block's
// first reading.
func (d *decoder) readOldStreams() {
	n := d.count(blockItems)
	d.tracks, d.seen = make([]track, n), make([]bool, n)
	for i := range d.tracks {
		d.tracks[i] = track{boot: d.word(), kernel: d.word(), stream: d.word(), unit: d.word(),
			priority: sensors.Priority(d.take(1)[0]), index: i}
		d.tracks[i].unix = d.unix
		if d.tracks[i].priority > sensors.Alarm {
			d.bad = true
		}
	}
}

// readGaps reads the gaps of the readings that were thinned out. The stream of a gap must
// have a reading in the block.
func (d *decoder) readGaps() []Gap {
	var gaps []Gap
	for range d.count(blockItems) {
		i, from, count, length := d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
		if i >= uint64(len(d.tracks)) || !d.seen[i] {
			d.bad = true
			return nil
		}
		t := &d.tracks[i]
		g := Gap{Stream: t.stream, Boot: t.boot, From: from, To: from + length, Count: count, Why: Thinned}
		gaps = append(gaps, g)
	}
	return gaps
}

// stream reads the head of a reading and finds its stream. In blocks of blockVersion the
// streams are in the order of their first reading, so it is a stream that had a reading or
// the next one. It returns nil if the block is malformed.
func (d *decoder) stream() (t *track, head uint64) {
	head = d.uvarint()
	at := head >> headBits
	if !d.old {
		at = uint64(d.common.expected(d.known)) + (at>>1 ^ -(at & 1)) // zigzag
		d.bad = d.bad || at > uint64(d.known)
	}
	if d.bad || at >= uint64(len(d.tracks)) {
		d.bad, d.rest = true, nil
		return nil, 0
	}
	return &d.tracks[at], head
}

// item reads one reading, in the order in which [encoder.item] writes it. If the block is
// malformed it sets bad, and the item is not valid.
func (d *decoder) item(it *Item) {
	t, head := d.stream()
	if t == nil {
		return
	}
	next, first := t.next(), !d.seen[t.index]
	if first {
		d.seen[t.index] = true
		d.known++
		if !d.old {
			next = d.common.begin(t, d.unix)
		}
	}
	more := byte(0)
	if head&headMore != 0 {
		more = d.take(1)[0]
	}
	it.Boot, it.Stream, it.Unit, it.Priority = t.boot, t.stream, t.unit, t.priority
	it.At.Kernel = t.kernel
	t.seq++
	if head&headSeq != 0 {
		t.seq += uint64(d.varint())
	}
	it.Seq = t.seq
	if head&headNumber != 0 {
		d.common.number += d.uvarint()
	}
	it.number = d.common.number
	it.At.Unix = next + d.varint()
	t.setTime(it.At.Unix, first)
	d.rareFields(it, t, more)
	d.value(it, t, head, more)
	d.common.follow(t)
}

// rareFields reads what [encoder.appendRare] writes, in the same order: the error, the
// state, the clocks, the event.
func (d *decoder) rareFields(it *Item, t *track, more byte) {
	if more&moreErr != 0 {
		it.Err = d.word()
	}
	if more&moreState != 0 {
		t.state = d.word()
	}
	it.State = t.state
	if more&moreClock != 0 {
		d.common.clock = clock.Quality(d.take(1)[0])
		d.bad = d.bad || d.common.clock > clock.Unsynced
	}
	it.At.Clock = d.common.clock
	if more&moreDrift != 0 {
		d.common.drift = d.varint()
	}
	if more&moreNoUptime == 0 && t.kernel != "" {
		it.At.Uptime = time.Duration(it.At.Unix+d.common.drift) * time.Millisecond
	}
	if more&moreEvent != 0 {
		d.event(it)
	}
}

// event reads an event with its details, or who changed an output and for how long.
func (d *decoder) event(it *Item) {
	it.Event = d.word()
	if it.Event != noEvent {
		it.Details = d.word()
		return
	}
	it.By = d.word()
	ms := d.uvarint()
	if ms >= 1<<43 { // 278 years, which still fit a Duration
		d.bad = true
		return
	}
	it.For = time.Duration(ms) * time.Millisecond
}

// value reads the value: a float, or the difference of its digits from those of the
// previous value.
func (d *decoder) value(it *Item, t *track, head uint64, more byte) {
	if more&moreFloat != 0 {
		it.Value = math.Float64frombits(binary.BigEndian.Uint64(d.take(8)))
	}
	if more&morePlaces != 0 {
		t.places, t.digits = d.take(1)[0], 0
	}
	if head&headDigits == 0 {
		return
	}
	if int(t.places) >= len(powers) {
		d.bad, t.places = true, 0
	}
	t.digits += d.varint()
	it.Value = float64(t.digits) / powers[t.places]
}

// word reads an index of words.
func (d *decoder) word() string {
	if i := d.uvarint(); i < uint64(len(d.words)) {
		return d.words[i]
	}
	d.bad = true
	return ""
}

// count reads a number. A number above limit, or above the number of bytes left, is
// malformed: each element that it counts takes at least one byte.
func (d *decoder) count(limit int) int {
	n := d.uvarint()
	if n > uint64(min(limit, len(d.rest))) {
		d.bad = true
		return 0
	}
	return int(n)
}

// uvarint reads an unsigned number; it returns 0 and sets bad if there is none.
func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.skip(n)
	return v
}

// varint reads a signed number; it returns 0 and sets bad if there is none.
func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	d.skip(n)
	return v
}

// skip skips the n bytes of a number. n comes from encoding/binary: it is 0 or less if
// there was no number.
func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad, d.rest = true, nil
		return
	}
	d.rest = d.rest[n:]
}

// take returns the next n bytes. If fewer are left it returns n zeros and sets bad.
func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.bad, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}
