package queue

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"
)

// An encoder makes a block.
type encoder struct {
	unix   int64             // ms, of the first reading
	common common            // the prediction for the next reading
	words  table[string]     // all texts except the names of streams
	tracks []*track          // the streams, in the order of their first reading
	byName map[string]*track // the last of tracks with each name; the others by their field sameName
	body   []byte            // the readings and the gaps
}

// A table numbers values in the order of their first use.
type table[T comparable] struct {
	list []T          // by number
	at   map[T]uint64 // the number of each
}

// index returns the number of a value, and gives it one if it is new.
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

// encode makes a block of a run of 1 to blockItems readings. The numbers of the items must
// ascend, and the streams of the gaps must have a reading in the run. decode returns an
// identical run, except that times are truncated to milliseconds.
func encode(r run) []byte {
	e := encoder{byName: map[string]*track{}, unix: r.items[0].At.Unix}
	e.common.number = r.items[0].number
	for i := range r.items {
		e.item(&r.items[i])
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
	b = binary.AppendVarint(b, e.unix)
	streams := e.streams()
	b = e.appendWords(b)
	b = append(b, streams...)
	b = append(b, e.body...)
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli))
	return b
}

// gaps appends the gaps of the readings that were thinned out.
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

// appendWords appends the table of texts. It is called after the readings were encoded,
// when all texts are known, although the table comes before the readings in the block.
func (e *encoder) appendWords(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(e.words.list)))
	for _, w := range e.words.list {
		b = binary.AppendUvarint(b, uint64(len(w)))
		b = append(b, w...)
	}
	return b
}

// streams makes the table of streams. It adds their boots, kernels and units to the words.
func (e *encoder) streams() (b []byte) {
	b = binary.AppendUvarint(b, uint64(len(e.tracks)))
	for i, t := range e.tracks {
		shared, ending := sharedEnds(t.stream, t.model.stream)
		head := uint64(shared) << streamBits
		var about []byte
		if t.back > 0 {
			head |= streamBack
			about = binary.AppendUvarint(about, uint64(t.back))
		}
		if i == 0 || t.boot != t.model.boot || t.kernel != t.model.kernel || t.priority != t.model.priority {
			head |= streamStart
			about = binary.AppendUvarint(about, e.words.index(t.boot))
			about = binary.AppendUvarint(about, e.words.index(t.kernel))
			about = append(about, byte(t.priority))
		}
		if t.unit != t.model.unit {
			head |= streamUnit
			about = binary.AppendUvarint(about, e.words.index(t.unit))
		}
		b = append(binary.AppendUvarint(b, head), about...)
		own := t.stream[shared : len(t.stream)-ending]
		b = binary.AppendUvarint(b, uint64(len(own)<<endingBits|ending))
		b = append(b, own...)
	}
	return b
}

// sharedEnds returns how many bytes a name has in common with another one at its beginning
// and, of the rest, at its end: at most maxShared and maxEnding.
func sharedEnds(name, with string) (shared, ending int) {
	limit := min(len(name), len(with))
	for shared < min(limit, maxShared) && name[shared] == with[shared] {
		shared++
	}
	for ending < min(limit-shared, maxEnding) && name[len(name)-1-ending] == with[len(with)-1-ending] {
		ending++
	}
	return shared, ending
}

// closeName ends the search for a model: one from which the name differs in at most so many
// bytes is good enough.
const closeName = 3

// findModel chooses the model of a new stream: among the last maxBack+1 streams the one
// that shares the most bytes of the name, with a preference for the same unit.
func (e *encoder) findModel(t *track) {
	n, most := len(e.tracks), -1
	t.model = &track{}
	for back := range min(n, maxBack+1) {
		m := e.tracks[n-1-back]
		shared, ending := sharedEnds(t.stream, m.stream)
		// back takes one byte; another unit takes at least one, and its value predicts ours badly.
		if back > 0 {
			shared--
		}
		if m.unit != t.unit {
			shared -= 2
		}
		if shared+ending > most || back == 0 {
			t.model, t.back, most = m, back, shared+ending
		}
		if most >= len(t.stream)-closeName {
			return // no other one saves more than a byte or two
		}
	}
}

// track returns the stream of an item, and whether the item is its first one.
func (e *encoder) track(it *Item) (t *track, first bool) {
	// Usually it is the expected stream, and the map is not needed.
	if i := e.common.expected(len(e.tracks)); i < len(e.tracks) && e.tracks[i].has(it) {
		return e.tracks[i], false
	}
	for t = e.byName[it.Stream]; t != nil; t = t.sameName {
		if t.has(it) {
			return t, false
		}
	}
	t = &track{boot: it.Boot, kernel: it.At.Kernel, stream: it.Stream, unit: it.Unit, priority: it.Priority,
		index: len(e.tracks), sameName: e.byName[it.Stream]}
	e.findModel(t)
	e.byName[t.stream], e.tracks = t, append(e.tracks, t)
	return t, true
}

// item appends one reading: head, more bits, then the fields that they announce. The
// difference from the expected time comes before the fields of the more bits.
func (e *encoder) item(it *Item) {
	expected := e.common.expected(len(e.tracks))
	t, first := e.track(it)
	next := t.next()
	if first {
		next = e.common.begin(t, e.unix)
	}
	head, more := zigzag(t.index-expected)<<headBits, byte(0)
	var about, rest [64]byte
	after, value := about[:0], rest[:0]

	if d := it.Seq - t.seq - 1; d != 0 {
		head |= headSeq
		after = binary.AppendVarint(after, int64(d))
	}
	if d := it.number - e.common.number; d != 0 {
		head |= headNumber
		after = binary.AppendUvarint(after, d)
		e.common.number = it.number
	}
	after = binary.AppendVarint(after, it.At.Unix-next)
	more, value = e.appendRare(it, t, more, value)
	head, more, value = appendValue(it, t, head, more, value)
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
	e.common.follow(t)
}

// zigzag maps a number near 0 of either sign to a small unsigned one, as varints need it.
func zigzag(n int) uint64 { return uint64(n)<<1 ^ uint64(n>>(bits.UintSize-1)) }

// appendRare appends the fields that seldom change: the error, the state, the clocks, the
// event.
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
	switch {
	case it.Event != noEvent:
		more |= moreEvent
		b = binary.AppendUvarint(b, e.words.index(it.Event))
		b = binary.AppendUvarint(b, e.words.index(it.Details))
	case it.By != "" || it.For > 0:
		more |= moreEvent
		b = binary.AppendUvarint(b, e.words.index(noEvent))
		b = binary.AppendUvarint(b, e.words.index(it.By))
		b = binary.AppendUvarint(b, uint64(it.For.Milliseconds()))
	}
	return more, b
}

// appendValue appends the value: the difference of its digits from the previous ones or,
// where that is not exact, all bits of the float.
func appendValue(it *Item, t *track, head uint64, more byte, b []byte) (uint64, byte, []byte) {
	digits, places, ok := digitsOf(it.Value, t.places)
	switch {
	case !ok:
		return head, more | moreFloat, binary.BigEndian.AppendUint64(b, math.Float64bits(it.Value))
	case it.Err != "" && digits == 0:
		return head, more, b // there is no value
	case places != t.places:
		more |= morePlaces
		b = append(b, places)
		t.places, t.digits = places, 0
	}
	b = binary.AppendVarint(b, digits-t.digits)
	t.digits = digits
	return head | headDigits, more, b
}

// digitsOf returns an integer and a number of decimal places with
// v == digits / powers[used], exactly. It tries the places of the previous reading first.
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

// exactDigits returns the integer for v with that many decimal places. It returns false if
// the division does not give exactly v, or if the integer is not exact as a float64
// (2^53 or more).
func exactDigits(v float64, places byte) (int64, bool) {
	d := math.Round(v * powers[places])
	if math.Abs(d) >= 1<<53 || math.Float64bits(d/powers[places]) != math.Float64bits(v) {
		return 0, false
	}
	return int64(d), true
}
