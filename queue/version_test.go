package queue

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/queue/pages"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// oldFile is a queue file whose blocks have version 2. The program of commit 2fb95f8
// has made it of oldReadings, with an event, a gap and a rejected item.
const oldFile = "testdata/version2.db.gz"

// oldReadings are what waits in oldFile, in the order of Put: 40 streams of routine
// readings, with failures and a value that is no short decimal fraction among them, and
// a door's alarms.
func oldReadings() (all []sensors.Reading) {
	at := clock.Stamp{Unix: 1_780_000_000_000, Uptime: time.Hour, Kernel: "51d0c77e"}
	for i := range 2500 {
		r := sensors.Reading{Stream: fmt.Sprintf("room-%02d", i%40), Seq: uint64(i/40 + 1), Unit: "°C",
			Value: float64(i*7%1000) / 100, At: at}
		switch {
		case i%97 == 0:
			r.Value, r.Err = 0, "no acknowledge"
		case i%89 == 0:
			r.Value = math.Pi
		}
		if i%7 == 0 {
			r.At.Uptime, r.At.Kernel = 0, ""
		}
		all = append(all, r)
		if i%250 == 0 {
			all = append(all, sensors.Reading{Stream: "door", Seq: uint64(i/250 + 1), Value: float64(i / 250 % 2),
				State: []string{"closed", "open"}[i/250%2], Priority: sensors.Alarm, At: at})
		}
		step := time.Duration(10+i%3) * time.Millisecond
		at.Unix, at.Uptime = at.Unix+step.Milliseconds(), at.Uptime+step
	}
	return all
}

// unpack writes an uncompressed copy of a file and returns its path.
func unpack(t testing.TB, name string) string {
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	packed, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// blocksOf returns the routine blocks of a file.
func blocksOf(t testing.TB, f *file) (blocks [][]byte) {
	t.Helper()
	err := f.view(func(p *pages.File) error {
		blocks = nil
		return p.Each(string(bucketLanes[sensors.Routine]), nil, func(_, v []byte) (bool, error) {
			blocks = append(blocks, bytes.Clone(v))
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

// checkOld compares items with oldReadings, of which a number of the first alarms is
// missing. The time of a reading without an uptime is what the wall clock said.
func checkOld(t *testing.T, items []Item, without int) {
	t.Helper()
	var want [2][]sensors.Reading // by priority, as the queue orders them
	for _, r := range oldReadings() {
		want[r.Priority] = append(want[r.Priority], r)
	}
	all := append(want[sensors.Alarm][without:], want[sensors.Routine]...)
	n := 0
	for _, it := range items {
		if it.Event != "" {
			continue
		}
		if n < len(all) && it.Reading != all[n] {
			t.Fatalf("reading %d is %+v, want %+v", n, it.Reading, all[n])
		}
		n++
	}
	if n != len(all) {
		t.Errorf("%d readings, want %d", n, len(all))
	}
}

// TestAFileOfVersion2 opens as it is: every reading, event and gap comes, and the
// rejected item is still there.
func TestAFileOfVersion2(t *testing.T) {
	h := start(t, unpack(t, oldFile))
	defer h.end()
	items := h.all(t)
	checkOld(t, items, 1)
	var events []string
	for _, it := range items {
		if it.Event != "" {
			events = append(events, it.Event)
		}
	}
	if got := fmt.Sprint(events); got != "[storage gap]" {
		t.Errorf("events %s", got)
	}
	rejected, err := h.Rejected(&Cursor{}, 10)
	if err != nil || len(rejected) != 1 || rejected[0].Reading != oldReadings()[1] {
		t.Errorf("rejected: %+v, %v", rejected, err)
	}
}

// TestAFileOfTwoVersions has blocks of this version behind those of version 2. One of
// each is damaged: what they held is declared, and everything else comes.
func TestAFileOfTwoVersions(t *testing.T) {
	path := unpack(t, oldFile)
	h := startWith(t, Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Second})
	const more = 5000
	for seq := range uint64(more) {
		h.Put(routine(seq + 1))
	}
	h.end()
	h = start(t, path)
	defer h.end()
	versions := map[byte]int{}
	for _, block := range blocksOf(t, h.opened.file) {
		versions[block[0]]++
	}
	if versions[oldVersion] < 2 || versions[blockVersion] < 3 {
		t.Fatalf("blocks by version: %v", versions)
	}
	damageBlock(t, h.Queue, 1)
	damageBlock(t, h.Queue, versions[oldVersion]+1)
	readings, missing := 0, 0
	for _, it := range h.all(t) {
		var g Gap
		switch {
		case it.Event == "":
			readings++
		case it.Event == gapEvent && json.Unmarshal([]byte(it.Details), &g) == nil && g.Why == Damaged:
			missing += int(g.Count)
		}
	}
	// One alarm is rejected.
	if want := len(oldReadings()) - 1 + more; readings+missing != want || missing > 2*blockItems || missing == 0 {
		t.Errorf("%d readings and %d missing, want %d together", readings, missing, want)
	}
}

// TestVersion3EncodingDoesNotChange: files of this version are out there. What changes these
// bytes takes a new version of the block.
func TestVersion3EncodingDoesNotChange(t *testing.T) {
	var items []Item
	for i, r := range oldReadings()[:blockItems] {
		items = append(items, Item{Reading: r, Boot: "17-9f3c02ab", number: uint64(i + i/100 + 1)})
	}
	for name, c := range map[string]struct {
		run  run
		want uint32
	}{
		"forty streams": {run{items: items}, 0x1832c0f6},
		"thinned out":   {thin(run{items: items}), 0xd20529f1},
		"many streams":  {run{items: manyStreams(500)}, 0x0f0e94b8},
	} {
		data := encode(c.run)
		if got := binary.BigEndian.Uint32(data[1:]); data[0] != 3 || got != c.want {
			t.Errorf("%s: version %d, checksum %#08x, want %#08x", name, data[0], got, c.want)
		}
	}
}
