package queue

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

func drawItems(t *rapid.T) []Item {
	word := rapid.SampledFrom([]string{"", "room", "door", "°C", "open", "17-9f3c02ab", "no acknowledge"})
	item := rapid.Custom(func(t *rapid.T) Item {
		it := Item{Boot: word.Draw(t, "boot"), Reading: sensors.Reading{
			Stream: word.Draw(t, "stream"), Unit: word.Draw(t, "unit"), State: word.Draw(t, "state"),
			Err:      word.Draw(t, "err"),
			Seq:      rapid.Uint64().Draw(t, "seq"),
			Value:    rapid.Float64().Draw(t, "value"),
			Priority: sensors.Priority(rapid.IntRange(0, 1).Draw(t, "priority")),
			By:       rapid.SampledFrom([]string{"", "rule:flood", "order:a1"}).Draw(t, "by"),
			For:      time.Duration(rapid.SampledFrom([]int64{0, 1, 180_000, 1<<43 - 1}).Draw(t, "for")) * time.Millisecond,
		}}
		it.At.Unix = rapid.Int64Range(-1<<50, 1<<50).Draw(t, "unix")
		it.At.Clock = clock.Quality(rapid.IntRange(0, 2).Draw(t, "clock"))
		if rapid.Bool().Draw(t, "uptime") {
			it.At.Kernel = rapid.SampledFrom([]string{"9f3c02ab", "51d0c77e"}).Draw(t, "kernel")
			it.At.Uptime = time.Duration(rapid.Uint32().Draw(t, "ms")) * time.Millisecond
		}
		return it
	})
	items := rapid.SliceOfN(item, 1, blockItems).Draw(t, "items")
	first := rapid.Uint64Range(1, math.MaxUint64-blockItems).Draw(t, "first")
	for i := range items {
		items[i].number = first + uint64(i)
	}
	return items
}

func TestBlockRoundTripsExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawItems(t)
		got, err := decode(encode(run{items: want}))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.items, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

func TestDamagedBlockIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := encode(run{items: drawItems(t)})
		bit := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := decode(b); err == nil {
			t.Fatalf("bit %d of %d flipped and nothing noticed", bit, 8*len(b))
		}
	})
}

// sealed gives data a head that is right, so that the fuzzer gets past it.
func sealed(data []byte) []byte {
	version := byte(blockVersion)
	if data[0] == oldVersion {
		version = oldVersion
	}
	data = append([]byte{version}, data[1:]...)
	binary.BigEndian.PutUint32(data[1:], crc32.Checksum(data[5:], castagnoli))
	return data
}

// routineBlock is what three sensors with two decimals make in ten minutes.
func routineBlock() []Item {
	var items []Item
	now := time.Now()
	for i := range 600 {
		n := uint64(i)
		it := Item{Boot: "17-9f3c02ab", number: n + 1}
		it.Stream = [...]string{"room_humidity", "room_temperature", "freezer"}[i%3]
		it.Unit = [...]string{"%", "°C", "°C"}[i%3]
		it.Seq = n/3 + 1
		it.Value = math.Round(4500+300*math.Sin(float64(i)/40)+float64(i*7919%11)) / 100
		at := now.Add(time.Duration(i/3)*time.Second + time.Duration(i*31337%1500)*time.Microsecond)
		uptime := at.Sub(now).Truncate(time.Millisecond) // and the wall clock is told from it, as the timekeeper does
		it.At = clock.Stamp{Unix: now.UnixMilli() + uptime.Milliseconds(), Uptime: uptime + time.Hour,
			Kernel: "51d0c77e"}
		items = append(items, it)
	}
	return items
}

func TestRoutineReadingTakesFourBytes(t *testing.T) {
	items := routineBlock()
	if n := len(encode(run{items: items})); n > 4*len(items)+200 {
		t.Errorf("%d readings take %d bytes", len(items), n)
	}
}

// manyStreams is what so many sensors with two decimals, each read once a second, make
// until a block is full.
func manyStreams(streams int) []Item {
	var items []Item
	at := clock.Stamp{Unix: 1_780_000_000_000, Uptime: time.Hour, Kernel: "51d0c77e"}
	for i := range blockItems {
		it := Item{Boot: "17-9f3c02ab", number: uint64(7000 + i)}
		it.Stream, it.Unit, it.Seq = fmt.Sprintf("greenhouse-%03d-temperature", i%streams), "°C", uint64(100+i/streams)
		it.Value = float64(2000+(i%streams)*7919%500+i/streams*3) / 100
		it.At = at
		it.At.Unix += int64(i/streams*1000 + i%streams/100)
		it.At.Uptime += time.Duration(it.At.Unix-at.Unix) * time.Millisecond
		items = append(items, it)
	}
	return items
}

// TestReadingsOfAThousandStreams have one reading each in a block, with its name.
func TestReadingsOfAThousandStreams(t *testing.T) {
	for streams, limit := range map[int]int{1000: 8, 500: 6, 100: 4, 1: 4} {
		data := encode(run{items: manyStreams(streams)})
		if got := float64(len(data)) / blockItems; got > float64(limit) {
			t.Errorf("%d streams: %.1f bytes a reading, want at most %d", streams, got, limit)
		} else {
			t.Logf("%d streams: %.1f bytes a reading", streams, got)
		}
	}
}

func BenchmarkEncodeManyStreams(b *testing.B) {
	items := manyStreams(1000)
	for b.Loop() {
		encode(run{items: items})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(items)), "ns/reading")
}

func BenchmarkEncode(b *testing.B) {
	items := routineBlock()
	for b.Loop() {
		encode(run{items: items})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(items)), "ns/reading")
}

func BenchmarkDecode(b *testing.B) {
	items := routineBlock()
	data := encode(run{items: items})
	var z bytes.Buffer
	w, _ := flate.NewWriter(&z, 6)
	w.Write(data)
	w.Close()
	for b.Loop() {
		if _, err := decode(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(items)), "ns/reading")
	b.ReportMetric(float64(len(data))/float64(len(items)), "B/reading")
	b.ReportMetric(float64(z.Len())/float64(len(items)), "deflatedB/reading")
}

func FuzzDecode(f *testing.F) {
	items := []Item{{Boot: "1-00000000", Reading: routine(1), number: 1},
		{Boot: "1-00000000", Reading: alarm(1), number: 2}}
	f.Add(encode(run{items: items}))
	event := items[1]
	event.number, event.Event, event.Details = 3, "storage", `{"state":"works"}`
	f.Add(encode(run{items: append(items, event)}))
	f.Add(encode(thin(run{items: routineBlock()})))
	f.Add(encode(run{items: manyStreams(7)}))
	f.Add(encodeRejected(items[0]))
	event.declared = true
	f.Add(encodeRejected(event))
	f.Add([]byte{})
	f.Add([]byte{blockVersion, 0, 0, 0, 0})
	old := start(f, unpack(f, oldFile))
	for _, block := range blocksOf(f, old.opened.file) {
		f.Add(block)
	}
	old.end()
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 5 {
			data = sealed(data)
		}
		r, err := decode(data)
		if err == nil && len(r.items) == 0 {
			t.Error("no items and no error")
		}
		if err != nil {
			return
		}
		items := r.items
		for i := range items {
			if math.IsNaN(items[i].Value) { // differs from itself
				items[i].Value = 0
			}
			items[i].At.Uptime = 0 // need not be what a clock can say
		}
		for i := range r.gaps { // several of one stream and cause are one
			r.gaps[i].Count = max(r.gaps[i].Count, 1)
		}
		again, err := decode(encode(r))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%v\ngot  %+v\nwant %+v", err, again, r)
		}
	})
}
