package queue

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/sensors"
)

// startAs opens a queue for a client ID.
func startAs(t *testing.T, path, id string) *harness {
	t.Helper()
	return startWith(t, Options{Path: path, MaxSize: 1 << 20, SyncEvery: 5 * time.Second, ClientID: id})
}

// waiting makes a file of a client ID in which a rejected alarm, alarms, routine
// readings in blocks and in the tail, and a gap wait.
func waiting(t *testing.T, path, id string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := startAs(t, path, id)
		h.Put(alarm(1))
		h.Put(alarm(2))
		for seq := range uint64(3000) {
			h.Put(routine(seq + 1))
			time.Sleep(20 * time.Millisecond)
		}
		h.setAside(t, 1, false)
		h.mu.Lock()
		h.gaps.add(Gap{Stream: "cellar", Boot: h.boot, From: 1, To: 10, Count: 10, Why: Dropped})
		h.mu.Unlock()
		h.end()
	})
}

func owner(t *testing.T, path string) string {
	t.Helper()
	c, err := Inspect(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.ClientID
}

// TestBacklogOfAnotherClientIDIsNotSent: a card was cloned from a running Pi.
func TestBacklogOfAnotherClientIDIsNotSent(t *testing.T) {
	path := queuePath(t)
	waiting(t, path, "porch")
	if id := owner(t, path); id != "porch" {
		t.Fatalf("the file is of %q", id)
	}
	var log bytes.Buffer
	opt := Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Second, ClientID: "cellar"}
	q, err := Open(opt, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	items, err := q.Peek(&Cursor{}, 100)
	if err != nil || len(items) != 1 || items[0].Event != "storage" ||
		!strings.Contains(items[0].Details, `"client_id":"porch"`) {
		t.Errorf("%v, %v, want the event alone", names(items), err)
	}
	q.Close()
	if id := owner(t, path); id != "cellar" {
		t.Errorf("the new file is of %q", id)
	}
	for _, want := range []string{"level=ERROR", "was=porch", "client_id=cellar", ".of-porch-",
		"holdfast queue adopt"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, &log)
		}
	}
	others := Others(path)
	if len(others) != 1 || others[0].ClientID != "porch" {
		t.Fatalf("others: %+v", others)
	}
	c, err := Inspect(others[0].Path, nil)
	if err != nil || c.Alarms != 1 || c.Routine != 3000 || c.Rejected != 1 || len(c.Gaps) != 1 ||
		c.ClientID != "porch" {
		t.Errorf("the backlog aside: %+v, %v", c, err)
	}
}

// TestPowerCutWhileABacklogIsMovedAside: the event is not lost.
func TestPowerCutWhileABacklogIsMovedAside(t *testing.T) {
	path := queuePath(t)
	waiting(t, path, "porch")
	q, err := Open(Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Second, ClientID: "cellar"},
		slog.New(slog.DiscardHandler))
	if err == nil {
		err = errors.Join(q.opened.file.close(), os.Rename(path, path+".salvaged"))
	}
	if err != nil {
		t.Fatal(err)
	}
	h := startAs(t, path, "cellar")
	defer h.end()
	if got := names(h.all(t)); fmt.Sprint(got) != "[storage]" {
		t.Errorf("%v, want the event", got)
	}
}

// TestFileOfOurClientIDIsUsed: also that of an agent that kept no client ID, one whose
// client ID is damaged, and one of another in which nothing waits.
func TestFileOfOurClientIDIsUsed(t *testing.T) {
	for _, c := range []struct {
		name, was string
		prepare   func(t *testing.T, path string)
	}{
		{"the same", "porch", func(*testing.T, string) {}},
		{"none", "", func(*testing.T, string) {}},
		{"damaged", "cellar", func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			if err == nil {
				err = db.Update(func(tx *bbolt.Tx) error {
					b := tx.Bucket(bucketMeta)
					return b.Put(keyOwner, bytes.Replace(b.Get(keyOwner), []byte("cellar"), []byte("collar"), 1))
				})
				err = errors.Join(err, db.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"empty", "cellar", func(t *testing.T, path string) {
			h := startAs(t, path, "cellar")
			h.all(t)
			h.Ack(h.aside(t))
			h.end()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := queuePath(t)
			waiting(t, path, c.was)
			c.prepare(t, path)
			h := startAs(t, path, "porch")
			h.Put(alarm(3))
			n := len(h.all(t))
			h.end()
			if others := Others(path); len(others) > 0 || n == 0 {
				t.Errorf("%d items, others %+v", n, others)
			}
			if id := owner(t, path); id != "porch" {
				t.Errorf("the file is of %q", id)
			}
		})
	}
}

// TestOwnerSurvivesASalvageAndShrinking of the file.
func TestOwnerSurvivesASalvageAndShrinking(t *testing.T) {
	path := queuePath(t)
	waiting(t, path, "porch")
	zero(t, path, blockPages(t, path)[0])
	h := startAs(t, path, "cellar")
	if got := names(h.all(t)); fmt.Sprint(got) != "[storage]" {
		t.Errorf("%v of a damaged file of another", got)
	}
	h.end()
	if others := Others(path); len(others) != 1 {
		t.Errorf("others %+v", others)
	}
	path = queuePath(t)
	synctest.Test(t, func(t *testing.T) {
		h := startWith(t, Options{Path: path, MaxSize: 64 << 20, SyncEvery: 5 * time.Second, ClientID: "porch"})
		before := h.large(t)
		h.all(t)
		time.Sleep(5 * time.Minute)
		h.end()
		if info, err := os.Stat(path); err != nil || os.SameFile(info, before) {
			t.Errorf("the file was not replaced: %v", err)
		}
	})
	if id := owner(t, path); id != "porch" {
		t.Errorf("the new file is of %q", id)
	}
}

// large lets the file grow beyond what is kept when it is empty.
func (h *harness) large(t *testing.T) os.FileInfo {
	t.Helper()
	seq := uint64(0)
	for range 12 {
		for range 250 {
			seq++
			r := routine(seq)
			r.State = strings.Repeat(fmt.Sprintf("%08x", seq), 500)
			h.Put(r)
		}
		time.Sleep(6 * time.Second)
	}
	info, err := os.Stat(h.path)
	if err != nil || info.Size() < shrinkAbove {
		t.Fatalf("%d bytes, %v", info.Size(), err)
	}
	return info
}

// TestAdoptMovesTheWholeBacklog: what waits, was rejected and was lost comes out of our
// queue, once, behind what waits there, also after a restart.
func TestAdoptMovesTheWholeBacklog(t *testing.T) {
	path := queuePath(t)
	waiting(t, path, "porch")
	synctest.Test(t, func(t *testing.T) {
		h := startAs(t, path, "cellar")
		h.Put(alarm(1))
		h.Put(routine(1))
		if _, err := h.Adopt("attic"); !errors.Is(err, ErrNoBacklog) {
			t.Errorf("of one that is not there: %v", err)
		}
		n, err := h.Adopt("porch")
		if n != 3002 || err != nil {
			t.Errorf("%d adopted, %v", n, err)
		}
		if n, err := h.Adopt("porch"); n != 0 || !errors.Is(err, ErrNoBacklog) {
			t.Errorf("again: %d adopted, %v", n, err)
		}
		h.kill()
		h = startAs(t, path, "cellar")
		items := h.all(t)
		h.end()
		var r recorder
		ours := h.boot
		r.take(items)
		alarms, routines, last := 0, 0, uint64(0)
		for _, it := range items {
			switch {
			case it.Event != "" || it.Boot == ours:
			case it.Priority == sensors.Alarm:
				alarms++
			default:
				if routines++; it.Seq < last {
					t.Fatalf("room %d after %d", it.Seq, last)
				}
				last = it.Seq
			}
		}
		if alarms != 2+1 || routines != 3000+1 || len(r.gaps) != 1 {
			t.Errorf("%d alarms, %d routine readings, gaps %+v", alarms, routines, r.gaps)
		}
	})
	left, _ := filepath.Glob(path + ".*")
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestAdoptWaitsUntilTheLastReadingIsOnDisk, also where it is the only one: then
// the file that it was in is gone.
func TestAdoptWaitsUntilTheLastReadingIsOnDisk(t *testing.T) {
	path := queuePath(t)
	synctest.Test(t, func(t *testing.T) {
		h := startAs(t, path, "porch")
		h.Put(routine(1))
		h.end()
		h = startAs(t, path, "cellar")
		n, err := h.Adopt("porch")
		h.kill()
		if n != 1 || err != nil {
			t.Errorf("%d adopted, %v", n, err)
		}
		h = startAs(t, path, "cellar")
		defer h.end()
		if got := fmt.Sprint(names(h.all(t))); !strings.Contains(got, "room1") {
			t.Errorf("after a kill: %s", got)
		}
	})
}

// TestAnAdoptedFileMayBeDamaged, locked or gone: then it says so and stays.
func TestAnAdoptedFileMayBeDamaged(t *testing.T) {
	path := queuePath(t)
	waiting(t, path, "porch")
	h := startAs(t, path, "cellar")
	defer h.end()
	other := Others(path)[0].Path
	flip(t, other, bucketLanes[sensors.Routine], 2)
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Adopt("porch"); !errors.Is(err, ErrLocked) {
		t.Errorf("locked: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Adopt("porch"); err != nil {
		t.Error(err)
	}
	var r recorder
	r.take(h.all(t))
	if n := len(r.seen["room"]); n == 3000 || n < 1900 {
		t.Errorf("%d readings of a file with a damaged block", n)
	}
	for seq := range uint64(3000) {
		covered := false
		for _, g := range r.gaps {
			covered = covered || g.Stream == "room" && g.From <= seq+1 && seq+1 <= g.To
		}
		if covered == r.seen["room"][seq+1] {
			t.Fatalf("room %d: came or is in a gap, and one of them alone", seq+1)
		}
	}
}

// TestBacklogsOfOtherClientIDsAreKeptLongest: damaged files go before the backlog of another.
func TestBacklogsOfOtherClientIDsAreKeptLongest(t *testing.T) {
	path := queuePath(t)
	d := store{path: path, maxQuarantined: 250, now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
		log: slog.New(slog.DiscardHandler)}
	all := []string{".of-porch-20261001T000000.000", ".of-porch-x-20261101T000000.000",
		".aside-20261120T000000.000-partial"}
	for _, name := range all {
		if err := os.WriteFile(path+name, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.deleteOldQuarantined()
	if left, _ := filepath.Glob(path + ".of-*"); len(left) != 2 {
		t.Errorf("a backlog went before a damaged file: %v", left)
	}
	if left, _ := filepath.Glob(path + ".aside-*"); len(left) != 0 {
		t.Errorf("too much is kept: %v", left)
	}
	if others := Others(path); len(others) != 2 || others[1].ClientID != "porch-x" {
		t.Errorf("others: %+v", others)
	}
}

// FuzzOwner: what is decoded can be part of a file's name, and is what was
// encoded.
func FuzzOwner(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeOwner("porch"))
	f.Add(encodeOwner("../porch"))
	f.Fuzz(func(t *testing.T, value []byte) {
		switch id := decodeOwner(value); {
		case id != "" && (!sensors.IsName(id) || !bytes.Equal(encodeOwner(id), value)):
			t.Errorf("% x is %q", value, id)
		case sensors.IsName(string(value)) && decodeOwner(encodeOwner(string(value))) != string(value):
			t.Errorf("%q does not come back", value)
		}
	})
}

// TestAFileInWhichAnythingWaitsIsMovedAside, whatever it is.
func TestAFileInWhichAnythingWaitsIsMovedAside(t *testing.T) {
	for name, put := range map[string]func(*testing.T, *harness){
		"a routine reading": func(t *testing.T, h *harness) { h.Put(routine(1)) },
		"an alarm":          func(t *testing.T, h *harness) { h.Put(alarm(1)) },
		"blocks": func(t *testing.T, h *harness) {
			for seq := range uint64(2000) {
				h.Put(routine(seq + 1))
			}
		},
		"what was rejected": func(t *testing.T, h *harness) {
			h.Put(routine(1))
			h.setAside(t, 1, false)
		},
		"a gap": func(t *testing.T, h *harness) {
			h.Put(routine(1))
			h.all(t)
			h.mu.Lock()
			h.gaps.add(Gap{Stream: "room", Boot: h.boot, From: 2, To: 3, Count: 2, Why: Dropped})
			h.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := queuePath(t)
			h := startAs(t, path, "porch")
			put(t, h)
			h.end()
			h = startAs(t, path, "cellar")
			defer h.end()
			if others := Others(path); len(others) != 1 {
				t.Errorf("others: %+v", others)
			}
		})
	}
}

// TestTwoAdoptionsAtATime make no copies: one has the file.
func TestTwoAdoptionsAtATime(t *testing.T) {
	path := queuePath(t)
	waiting(t, path, "porch")
	h := startAs(t, path, "cellar")
	defer h.end()
	a, err := beginAdoption(h.Queue, Others(path)[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.file.Close()
	if n, err := h.Adopt("porch"); n > 0 || !errors.Is(err, ErrLocked) {
		t.Errorf("%d adopted, %v", n, err)
	}
}

// TestAdoptingAgainCountsNoGapTwice after an adoption that failed at its end.
func TestAdoptingAgainCountsNoGapTwice(t *testing.T) {
	path := queuePath(t)
	waiting(t, path, "porch")
	synctest.Test(t, func(t *testing.T) {
		h := startAs(t, path, "cellar")
		defer h.end()
		a, err := beginAdoption(h.Queue, Others(path)[0].Path)
		if err == nil {
			err = errors.Join(a.moveItems(), a.file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Adopt("porch"); err != nil {
			t.Fatal(err)
		}
		var r recorder
		r.take(h.all(t))
		if len(r.gaps) != 1 || r.gaps[0].Count != 10 {
			t.Errorf("gaps %+v", r.gaps)
		}
	})
}

// TestAdoptionKeepsTheFileUntilItsReadingsAreSafe: not when our queue file was
// lost meanwhile, when the gaps are in a commit under way, or when the agent stops.
func TestAdoptionKeepsTheFileUntilItsReadingsAreSafe(t *testing.T) {
	for name, disturb := range map[string]func(h *harness){
		"our file is lost": func(h *harness) {
			time.Sleep(time.Minute) // all is on disk
			os.Truncate(h.path, 0)
			time.Sleep(2 * time.Minute)
		},
		"a commit is under way": func(h *harness) {
			time.Sleep(30 * time.Second) // all else is on disk
			h.mu.Lock()
			h.gaps.add(Gap{Stream: "attic", Boot: "1-x", From: 1, To: 10, Count: 10, Why: Dropped})
			planLocked(&h.backlog, true)
			h.storage.writing = true // as commitChange has it while the disk works
			h.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := queuePath(t)
			waiting(t, path, "porch")
			synctest.Test(t, func(t *testing.T) {
				h := startAs(t, path, "cellar")
				defer h.end()
				a, err := beginAdoption(h.Queue, Others(path)[0].Path)
				if err != nil {
					t.Fatal(err)
				}
				defer a.file.Close()
				if err := a.moveItems(); err != nil {
					t.Fatal(err)
				}
				disturb(h)
				settled := make(chan error, 1)
				go func() { settled <- a.finish() }()
				select {
				case err = <-settled:
				case <-time.After(time.Second):
				}
				if len(Others(path)) != 1 {
					t.Errorf("the file is gone: %v", err)
				}
				h.mu.Lock()
				h.storage.writing = false
				h.mu.Unlock()
			})
		})
	}
	path := queuePath(t)
	waiting(t, path, "porch")
	h := startAs(t, path, "cellar")
	h.stop()
	<-h.done
	if n, err := h.Adopt("porch"); n > 0 || err == nil || len(Others(path)) != 1 {
		t.Errorf("after the end of the writer: %d adopted, %v", n, err)
	}
	h.Close()
}

// TestAnAdoptedGapThatWasRejectedIsAGapAgain: Ack and Cursor know the event of a gap by its
// number among our events, so as an item of a lane it could not be acknowledged, and would
// be sent without end.
func TestAnAdoptedGapThatWasRejectedIsAGapAgain(t *testing.T) {
	path := queuePath(t)
	synctest.Test(t, func(t *testing.T) {
		h := startAs(t, path, "porch")
		h.Declare(Gap{Stream: "room", Boot: h.boot, From: 3, To: 9, Count: 7, Why: Dropped})
		h.setAside(t, 1, false)
		h.end()
		h = startAs(t, path, "cellar")
		defer h.end()
		h.Ack(h.oldest(t, 9)) // what the start says of the other file
		a, err := beginAdoption(h.Queue, Others(path)[0].Path)
		if err == nil {
			err = errors.Join(a.moveItems(), a.finish(), a.file.Close())
		}
		items := h.oldest(t, 9)
		h.Ack(items)
		if fmt.Sprint(names(items)) != "[gap]" || items[0].Boot != h.boot || h.Stats().Backlog != 0 || err != nil {
			t.Errorf("adopted %+v, %d left after the acknowledgement, %v", items, h.Stats().Backlog, err)
		}
	})
}

// TestDamagedGapsStopNoStart: their value has no checksum, and one wrong byte makes it no
// JSON, in a file of our own and in one to adopt.
func TestDamagedGapsStopNoStart(t *testing.T) {
	for _, id := range []string{"porch", "cellar"} {
		path := queuePath(t)
		waiting(t, path, "porch")
		damageGaps(t, path)
		if c, err := Inspect(path, nil); err != nil || c.Damaged != 1 || c.Routine != 3000 {
			t.Errorf("%+v, %v", c, err)
		}
		h := startAs(t, path, id)
		if id == "cellar" {
			if _, err := h.Adopt("porch"); err != nil {
				t.Error(err)
			}
		}
		var r recorder
		r.take(h.all(t))
		if len(r.seen["room"]) != 3000 {
			t.Errorf("%d of 3000 readings", len(r.seen["room"]))
		}
		h.end()
	}
}

// damageGaps changes a byte of the gaps in a file.
func damageGaps(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	gaps := []byte(`[{"stream":`)
	if err != nil || !bytes.Contains(data, gaps) {
		t.Fatal("no gaps in the file: ", err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(data, gaps, []byte(`[{"stream"~`)), 0o600); err != nil {
		t.Fatal(err)
	}
}
