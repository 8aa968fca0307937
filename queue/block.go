package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// A block is a run of readings of one lane, the value of one key:
//
//	version   1 byte
//	checksum  CRC-32C of all that follows, 4 bytes, big endian
//	flags     1 byte
//	number    uvarint, of the first reading in its lane
//	count     uvarint, of the readings
//	unix      varint, milliseconds, of the first reading
//	words     uvarint n, then n times: uvarint length, bytes
//	streams   uvarint n, then n times: boot, kernel, stream, unit: uvarint each, an index of words; priority: 1 byte
//	readings  count times what encoder.item writes
//	gaps      uvarint n, then n times: stream, from, count: uvarint each; to: uvarint, less from
//
// A reading is told by how it differs from what was to be expected: the next
// number, the next seq of its stream, the time that its stream's pace
// predicts, the decimal digits of the value before. A hygrometer's reading
// takes four bytes.
const (
	blockVersion = 2
	blockItems   = 1024 // readings in a block, at most
	blockWords   = 7 * blockItems
)

const (
	flagThinned  = 1 << iota // every second reading may be missing: gaps say which
	flagRejected             // one item that was set aside: number is its place there
	flagDeclared             // the same, and a gap has told of it
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
	moreErr   = 1 << iota // uvarint: the error, an index of words
	moreState             // uvarint: the state, an index of words; else as before
	moreClock             // 1 byte: the clock from here on
	moreNoUptime
	moreDrift // varint: ms of uptime less ms of unix, from here on
	moreFloat // 8 bytes: the value, IEEE 754
	morePlaces
	moreEvent // uvarint twice: the event and its details, indexes of words
)

// A digit is worth a power of ten. morePlaces: 1 byte, the decimal places of
// the stream from here on; the digits before count as 0.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// track is what a stream's next reading is expected to be.
type track struct {
	boot, kernel, stream, unit string
	priority                   sensors.Priority

	seq    uint64
	unix   int64 // ms, of the reading before
	pace   int64 // ms, between the last two
	places byte
	digits int64
	state  string
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
	number uint64
	clock  clock.Quality
	drift  int64 // ms of uptime less ms of unix
}

// digitsOf finds a whole number that, divided by ten to the places, is v to
// the last bit. It tries the places of the reading before first.
func digitsOf(v float64, places byte) (digits int64, used byte, ok bool) {
	if d, ok := exactDigits(v, places); ok {
		return d, places, true
	}
	for p := range powers {
		if d, ok := exactDigits(v, byte(p)); ok {
			return d, byte(p), true
		}
	}
	return 0, 0, false
}

func exactDigits(v float64, places byte) (int64, bool) {
	d := math.Round(v * powers[places])
	if math.Abs(d) >= 1<<53 || math.Float64bits(d/powers[places]) != math.Float64bits(v) {
		return 0, false
	}
	return int64(d), true
}

// An encoder makes a block.
type encoder struct {
	common common
	words  table[string]
	tracks []*track
	index  map[streamKey]uint64
	body   []byte
}

type streamKey struct {
	boot, kernel, stream, unit string
	priority                   sensors.Priority
}

// A table numbers values in the order of their first use.
type table[T comparable] struct {
	list []T
	at   map[T]uint64
}

func (t *table[T]) index(v T) uint64 {
	if i, ok := t.at[v]; ok {
		return i
	}
	if t.at == nil {
		t.at = map[T]uint64{}
	}
	i := uint64(len(t.list))
	t.at[v], t.list = i, append(t.list, v)
	return i
}

// A run is what a block holds: readings in the order of their numbers, at
// least one, and what was thinned out between them.
type run struct {
	items   []Item
	gaps    []Gap // of streams that have a reading in the run, thinned ones
	thinned bool

	rejected, declared bool // of an item that was set aside
}

// last is the number of the run's last reading, the block's key.
func (r run) last() uint64 { return r.items[len(r.items)-1].number }

// encode makes a block of a run.
func encode(r run) []byte {
	e := encoder{index: map[streamKey]uint64{}}
	e.common.number = r.items[0].number
	unix := r.items[0].At.Unix
	for i := range r.items {
		e.item(&r.items[i], unix)
	}
	e.gaps(r.gaps)
	b := []byte{blockVersion, 0, 0, 0, 0, 0}
	for i, set := range [...]bool{r.thinned, r.rejected, r.declared} { // in the order of the flags
		if set {
			b[5] |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, r.items[0].number)
	b = binary.AppendUvarint(b, uint64(len(r.items)))
	b = binary.AppendVarint(b, unix)
	streams := e.streams()
	b = e.appendWords(b)
	b = append(b, streams...)
	b = append(b, e.body...)
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli))
	return b
}

func (e *encoder) gaps(gaps []Gap) {
	e.body = binary.AppendUvarint(e.body, uint64(len(gaps)))
	for _, g := range gaps {
		i := slices.IndexFunc(e.tracks, func(t *track) bool { return t.stream == g.Stream && t.boot == g.Boot })
		if i < 0 {
			panic("queue: a gap of a stream that is not in its block")
		}
		for _, v := range [...]uint64{uint64(i), g.From, g.Count, g.To - g.From} {
			e.body = binary.AppendUvarint(e.body, v)
		}
	}
}

func (e *encoder) appendWords(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(e.words.list)))
	for _, w := range e.words.list {
		b = binary.AppendUvarint(b, uint64(len(w)))
		b = append(b, w...)
	}
	return b
}

func (e *encoder) streams() (b []byte) {
	b = binary.AppendUvarint(b, uint64(len(e.tracks)))
	for _, t := range e.tracks {
		for _, w := range [...]string{t.boot, t.kernel, t.stream, t.unit} {
			b = binary.AppendUvarint(b, e.words.index(w))
		}
		b = append(b, byte(t.priority))
	}
	return b
}

// track finds the stream of an item, and says whether this is its first.
func (e *encoder) track(it *Item, unix int64) (t *track, index uint64, first bool) {
	k := streamKey{it.Boot, it.At.Kernel, it.Stream, it.Unit, it.Priority}
	if i, ok := e.index[k]; ok {
		return e.tracks[i], i, false
	}
	t = &track{boot: it.Boot, kernel: it.At.Kernel, stream: it.Stream, unit: it.Unit, priority: it.Priority, unix: unix}
	index = uint64(len(e.tracks))
	e.index[k], e.tracks = index, append(e.tracks, t)
	return t, index, true
}

// item appends one reading: head, more, then what they announce, with the time
// as a varint, less the expected, in front.
func (e *encoder) item(it *Item, unix int64) {
	t, index, first := e.track(it, unix)
	head, more := index<<headBits, byte(0)
	var about, rest [64]byte
	after, value := about[:0], rest[:0]

	if d := it.Seq - t.seq - 1; d != 0 {
		head |= headSeq
		after = binary.AppendVarint(after, int64(d))
	}
	if d := it.number - e.common.number; d != 0 {
		head |= headNumber
		after = binary.AppendUvarint(after, d)
	}
	after = binary.AppendVarint(after, it.At.Unix-t.next())
	more, value = e.appendRare(it, t, more, value)
	if digits, places, ok := digitsOf(it.Value, t.places); !ok {
		more |= moreFloat
		value = binary.BigEndian.AppendUint64(value, math.Float64bits(it.Value))
	} else if it.Err == "" || digits != 0 {
		if places != t.places {
			more |= morePlaces
			value = append(value, places)
			t.places, t.digits = places, 0
		}
		head |= headDigits
		value = binary.AppendVarint(value, digits-t.digits)
		t.digits = digits
	}
	if more != 0 {
		head |= headMore
	}
	e.body = binary.AppendUvarint(e.body, head)
	if more != 0 {
		e.body = append(e.body, more)
	}
	e.body = append(append(e.body, after...), value...)
	t.seq = it.Seq
	t.setTime(it.At.Unix, first)
	e.common.number = it.number + 1
}

// appendRare appends what is seldom news: the error, the state, the clocks.
func (e *encoder) appendRare(it *Item, t *track, more byte, b []byte) (byte, []byte) {
	if it.Err != "" {
		more |= moreErr
		b = binary.AppendUvarint(b, e.words.index(it.Err))
	}
	if it.State != t.state {
		more |= moreState
		b = binary.AppendUvarint(b, e.words.index(it.State))
		t.state = it.State
	}
	if it.At.Clock != e.common.clock {
		more |= moreClock
		b = append(b, byte(it.At.Clock))
		e.common.clock = it.At.Clock
	}
	if it.At.Kernel == "" {
		more |= moreNoUptime
	} else if drift := it.At.Uptime.Milliseconds() - it.At.Unix; drift != e.common.drift {
		more |= moreDrift
		b = binary.AppendVarint(b, drift)
		e.common.drift = drift
	}
	if it.Event != "" {
		more |= moreEvent
		b = binary.AppendUvarint(b, e.words.index(it.Event))
		b = binary.AppendUvarint(b, e.words.index(it.Details))
	}
	return more, b
}

// decode returns what a block holds.
func decode(data []byte) (run, error) {
	h, rest, err := readHeader(data)
	if err != nil {
		return run{}, err
	}
	d := decoder{rest: rest}
	d.common.number = h.number
	unix := d.varint()
	d.readWords()
	d.readStreams(unix)
	if h.count > blockItems || h.count > len(d.rest) {
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

var errMalformed = errors.New("block makes no sense")

// A header is what is known of a block without reading it.
type header struct {
	number  uint64 // of the first reading
	count   int
	thinned bool

	rejected, declared bool
}

// readHeader checks a block's version and checksum.
func readHeader(data []byte) (h header, rest []byte, err error) {
	if len(data) < 6 {
		return h, nil, errors.New("block is cut short")
	}
	if data[0] != blockVersion {
		return h, nil, fmt.Errorf("block has version %d, this program knows %d", data[0], blockVersion)
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

// A decoder reads a block front to back. What does not fit makes it bad.
type decoder struct {
	rest   []byte
	bad    bool
	common common
	words  []string
	tracks []track
	seen   []bool // by stream: it had a reading
}

func (d *decoder) readWords() {
	d.words = make([]string, d.count(blockWords))
	for i := range d.words {
		d.words[i] = string(d.take(d.count(len(d.rest))))
	}
}

func (d *decoder) readStreams(unix int64) {
	n := d.count(blockItems)
	d.tracks, d.seen = make([]track, n), make([]bool, n)
	for i := range d.tracks {
		d.tracks[i] = track{boot: d.word(), kernel: d.word(), stream: d.word(), unit: d.word(), priority: sensors.Priority(d.take(1)[0]), unix: unix}
		if d.tracks[i].priority > sensors.Alarm {
			d.bad = true
		}
	}
}

func (d *decoder) readGaps() []Gap {
	var gaps []Gap
	for range d.count(blockItems) {
		i, from, count, length := d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
		if i >= uint64(len(d.tracks)) || !d.seen[i] {
			d.bad = true
			return nil
		}
		t := &d.tracks[i]
		gaps = append(gaps, Gap{Stream: t.stream, Boot: t.boot, From: from, To: from + length, Count: count, Why: Thinned})
	}
	return gaps
}

func (d *decoder) item(it *Item) {
	head := d.uvarint()
	index := head >> headBits
	if d.bad || index >= uint64(len(d.tracks)) {
		d.bad, d.rest = true, nil
		return
	}
	t := &d.tracks[index]
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
	d.common.number++
	it.At.Unix = t.next() + d.varint()
	t.setTime(it.At.Unix, !d.seen[index])
	d.seen[index] = true
	d.about(it, t, more)
	d.value(it, t, head, more)
}

func (d *decoder) about(it *Item, t *track, more byte) {
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
		it.Event, it.Details = d.word(), d.word()
		d.bad = d.bad || it.Event == "" // details of nothing
	}
}

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

// count reads a number that can be no larger than most, nor than what is left.
func (d *decoder) count(limit int) int {
	n := d.uvarint()
	if n > uint64(min(limit, len(d.rest))) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad, d.rest = true, nil
		return
	}
	d.rest = d.rest[n:]
}

// take returns the next n bytes, zeros where they are missing.
func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.bad, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}
