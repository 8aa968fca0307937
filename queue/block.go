package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A block is a run of readings of one lane with consecutive numbers, the value
// of one key:
//
//	version  1 byte
//	checksum CRC-32C of all that follows, 4 bytes, big endian
//	first    uvarint, the number of the first reading
//	words    uvarint n, then n times: uvarint length, bytes
//	readings uvarint n, then n times:
//	         boot, stream, unit, state, error   uvarint each, an index of words
//	         seq                                uvarint
//	         unix                               varint, ms since the reading before
//	         flags                              1 byte: clock, priority, taken
//	         taken                              varint, µs since the queue was opened; if flagged
//	         value                              8 bytes, IEEE 754, big endian
const (
	blockVersion = 1
	blockItems   = 1024 // readings in a block, at most
	blockWords   = 5 * blockItems
)

const (
	flagClock = 0x03 // sensors.Clock
	flagAlarm = 0x04
	flagTaken = 0x08
)

// epoch stands for the opening of the queue in what decode returns.
var epoch = time.Unix(0, 0)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode makes a block of items. start is what Taken is stored relative to.
func encode(items []Item, start time.Time) []byte {
	var words wordList
	var body []byte
	unix := int64(0)
	for i := range items {
		it := &items[i]
		for _, w := range [...]string{it.Boot, it.Stream, it.Unit, it.State, it.Err} {
			body = binary.AppendUvarint(body, words.index(w))
		}
		body = binary.AppendUvarint(body, it.Seq)
		body = binary.AppendVarint(body, it.At.Unix-unix)
		unix = it.At.Unix
		body = appendFlags(body, it, start)
		body = binary.BigEndian.AppendUint64(body, math.Float64bits(it.Value))
	}
	b := []byte{blockVersion, 0, 0, 0, 0}
	b = binary.AppendUvarint(b, items[0].number)
	b = binary.AppendUvarint(b, uint64(len(words.list)))
	for _, w := range words.list {
		b = binary.AppendUvarint(b, uint64(len(w)))
		b = append(b, w...)
	}
	b = binary.AppendUvarint(b, uint64(len(items)))
	b = append(b, body...)
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli))
	return b
}

func appendFlags(b []byte, it *Item, start time.Time) []byte {
	flags := byte(it.At.Clock) & flagClock
	if it.Priority == sensors.Alarm {
		flags |= flagAlarm
	}
	if it.At.Taken.IsZero() {
		return append(b, flags)
	}
	b = append(b, flags|flagTaken)
	return binary.AppendVarint(b, it.At.Taken.Sub(start).Microseconds())
}

// wordList numbers the strings of a block.
type wordList struct {
	list []string
	at   map[string]uint64
}

func (l *wordList) index(w string) uint64 {
	if i, ok := l.at[w]; ok {
		return i
	}
	if l.at == nil {
		l.at = map[string]uint64{}
	}
	i := uint64(len(l.list))
	l.at[w], l.list = i, append(l.list, w)
	return i
}

// decode returns the readings of a block. Their Taken is relative to epoch.
func decode(data []byte) ([]Item, error) {
	if len(data) < 5 {
		return nil, errors.New("block is cut short")
	}
	if data[0] != blockVersion {
		return nil, fmt.Errorf("block has version %d, this program knows %d", data[0], blockVersion)
	}
	if crc32.Checksum(data[5:], castagnoli) != binary.BigEndian.Uint32(data[1:]) {
		return nil, errors.New("block fails its checksum")
	}
	d := decoder{rest: data[5:]}
	first := d.uvarint()
	words := d.words()
	items := make([]Item, d.count(blockItems))
	unix := int64(0)
	for i := range items {
		d.item(&items[i], words)
		unix += items[i].At.Unix
		items[i].At.Unix = unix
		items[i].number = first + uint64(i)
	}
	if d.bad || len(d.rest) > 0 || len(items) == 0 {
		return nil, errors.New("block makes no sense")
	}
	return items, nil
}

// A decoder reads a block front to back. What does not fit makes it bad.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) item(it *Item, words []string) {
	for _, w := range [...]*string{&it.Boot, &it.Stream, &it.Unit, &it.State, &it.Err} {
		if i := d.uvarint(); i < uint64(len(words)) {
			*w = words[i]
		} else {
			d.bad = true
		}
	}
	it.Seq = d.uvarint()
	it.At.Unix = d.varint()
	flags := d.take(1)[0]
	it.At.Clock = sensors.Clock(flags & flagClock)
	if flags&flagAlarm != 0 {
		it.Priority = sensors.Alarm
	}
	if flags&flagTaken != 0 {
		it.At.Taken = epoch.Add(time.Duration(d.varint()) * time.Microsecond)
	}
	it.Value = math.Float64frombits(binary.BigEndian.Uint64(d.take(8)))
}

func (d *decoder) words() []string {
	words := make([]string, d.count(blockWords))
	for i := range words {
		words[i] = string(d.take(d.count(len(d.rest))))
	}
	return words
}

// count reads a number that can be no larger than most, nor than what is left.
func (d *decoder) count(most int) int {
	n := d.uvarint()
	if n > uint64(min(most, len(d.rest))) {
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
