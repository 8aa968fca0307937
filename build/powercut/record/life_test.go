//go:build powercut

package record

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/build/powercut/disk"
	"github.com/holdfast-iot/holdfast/build/powercut/promise"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

var (
	seed  = flag.Uint64("seed", 1, "of the first life")
	lives = flag.Int("lives", 4, "to record, each from what a power cut left of the one before")
	out   = flag.String("out", "", "files to write: `PREFIX`0.rec, PREFIX1.rec ...")
)

// syncEvery is the queue's default.
const syncEvery = 5 * time.Second

// TestLives records lives of a queue. The test of the images comes later, in the workers.
func TestLives(t *testing.T) {
	if *out == "" {
		t.Skip("build/powercut/run says where to write")
	}
	rec := new(disk.Recording)
	for n := range *lives {
		random := rand.New(rand.NewPCG(*seed, uint64(n)))
		base, kept := []disk.File(nil), []promise.Fact(nil)
		next := disk.Recording{ClientID: "porch", Upset: rec.Upset}
		if n == *lives-1 && *seed%4 == 1 {
			next.ClientID, next.Upset = "cellar", true // the card was cloned
		}
		if n > 0 {
			cut := random.IntN(len(rec.Events))
			if startsDamaged(n) {
				cut = len(rec.Events) - 1 - cut/4 // when it had grown
			}
			base = disk.Before(rec, cut, false).Torn(random)
			items := drain(t, base, &next)
			if startsDamaged(n) {
				base, items = damage(t, base, items, &next, random)
			}
			kept = promise.Carry(items)
		}
		dir := filepath.Join(t.TempDir(), "life")
		if err := disk.Lay(dir, base); err != nil {
			t.Fatal(err)
		}
		l := &life{n: n, random: random}
		synctest.Test(t, func(t *testing.T) { rec = l.record(t, dir, base, kept, next.ClientID) })
		rec.ClientID, rec.Upset = next.ClientID, next.Upset
		if err := rec.Save(fmt.Sprintf("%s%d.rec", *out, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// damage damages a disk so that the queue loses readings, if possible, and returns what it
// still contains. Losses must be declared.
func damage(t *testing.T, base []disk.File, items []queue.Item, next *disk.Recording, random *rand.Rand) ([]disk.File,
	[]queue.Item) {
	t.Helper()
	spoiled, left := base, items
	for range 20 {
		copied, ok := corruptPage(base, random)
		if !ok {
			break
		}
		spoiled, left = copied, drain(t, copied, next)
		next.Upset = true
		if promise.Readings(left) < promise.Readings(items) {
			break
		}
	}
	for _, b := range promise.Undeclared(items, left) {
		t.Errorf("after damage: %s", b)
	}
	return spoiled, left
}

// drain returns what a queue finds on a disk after a power cut.
func drain(t *testing.T, base []disk.File, next *disk.Recording) []queue.Item {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "survivor")
	if err := disk.Lay(dir, base); err != nil {
		t.Fatal(err)
	}
	items, found := promise.Drain(dir, syncEvery, next.ClientID)
	for _, b := range found {
		t.Logf("between two lives: %s", b) // an image of this life will find it too
		if b.Sort == promise.Silent {
			t.Fail()
		}
	}
	return items
}

// A life is a queue with its producers and consumers.
type life struct {
	*Recorder
	n      int
	id     string // client ID
	random *rand.Rand
	queue  *promise.Running
	source *promise.Source
}

// record runs one life, starting with the files after a power cut.
func (l *life) record(t *testing.T, dir string, base []disk.File, kept []promise.Fact, id string) *disk.Recording {
	l.id = id
	boot := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(boot, fmt.Appendf(nil, "00000000-0000-4000-8000-%012d\n", l.n), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Recorder = New(dir, base, kept)
	l.Hook(boot)
	defer Unhook()
	l.start(t)
	if startsDamaged(l.n + 1) {
		l.grow()
	}
	for range 20 + l.random.IntN(40) {
		l.act(t)
	}
	if l.n == *lives-1 {
		switch *seed % 8 {
		case 2:
			l.growAndEmpty(t, 200)
		case 6:
			l.growAndEmpty(t, 300) // more than 1 MiB in one commit
		}
	}
	l.stop(t)
	Unhook()
	rec, err := l.Recording()
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// act does one random operation, in virtual time.
func (l *life) act(t *testing.T) {
	switch n := l.random.IntN(100); {
	case n < 25:
		l.put(l.random.IntN(4), 1+l.random.IntN(3))
	case n < 45:
		l.put(1+l.random.IntN(30), 0)
	case n < 50:
		l.putAlarms()
	case n < 75:
		time.Sleep(time.Duration(l.random.IntN(7000)) * time.Millisecond)
		synctest.Wait()
	case n < 88:
		l.take(t, 1+l.random.IntN(60))
	case n < 91:
		l.setAside(t, 1+l.random.IntN(5))
	case n < 92:
		l.tryAgain(t)
	case n < 94:
		l.takeAll(t)
	case n < 95:
		l.put(1000+l.random.IntN(4000), 1)
	case n < 97:
		time.Sleep(2 * time.Minute) // the queue cleans up
		synctest.Wait()
	default:
		l.stop(t)
		l.start(t)
	}
}

// grow leaves many blocks on several pages, so that damage can destroy one between others.
func (l *life) grow() {
	for range 20 {
		l.put(250, 1)
		time.Sleep(syncEvery + time.Second)
		synctest.Wait()
	}
}

// growAndEmpty makes the file large and empties it, so that the queue may shrink it: n readings of
// 4 kB at a time. It takes too long to be part of every life.
func (l *life) growAndEmpty(t *testing.T, n int) {
	const times, size = 12, 4000
	for range times {
		for range n {
			r := l.source.Next(sensors.Routine, l.random.IntN(3))
			r.State = l.noise(size)
			l.putOne(r)
		}
		time.Sleep(syncEvery + time.Second)
	}
	for range 3 {
		l.takeAll(t)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		l.put(3, 1)
	}
}

// noise is text that does not compress well.
func (l *life) noise(size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(' ' + l.random.IntN(95))
	}
	return string(b)
}

func (l *life) start(t *testing.T) {
	q, err := promise.Start(promise.Options(l.dir, syncEvery, l.id), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.queue, l.source = q, &promise.Source{Rand: l.random}
}

func (l *life) stop(t *testing.T) {
	if err := l.queue.Stop(); err != nil {
		t.Fatal(err)
	}
	l.Note(promise.Fact{Kind: promise.Closed})
}

// put puts routine readings, then alarms.
func (l *life) put(routine, alarms int) {
	for range routine {
		l.putOne(l.source.Next(sensors.Routine, l.random.IntN(3)))
	}
	for range alarms {
		l.putOne(l.source.Next(sensors.Alarm, l.random.IntN(2)))
	}
}

func (l *life) putOne(r sensors.Reading) {
	began := promise.Beginning(l.queue.Boot(), r)
	l.Note(began)
	l.queue.Put(r)
	l.Note(began.End())
}

// putAlarms puts alarms of several streams at once, so that they share a commit.
func (l *life) putAlarms() {
	var all sync.WaitGroup
	for n := range 2 + l.random.IntN(4) {
		r := l.source.Next(sensors.Alarm, n)
		all.Go(func() { l.putOne(r) })
	}
	all.Wait()
}

func (l *life) takeAll(t *testing.T) {
	for l.queue.Stats().Backlog > 0 {
		l.take(t, 1000)
	}
}

// take acknowledges the oldest readings, or all except the last of them.
func (l *life) take(t *testing.T, limit int) {
	if l.queue.Stats().Backlog == 0 {
		return
	}
	items, err := l.queue.Take(limit)
	if err != nil {
		t.Fatal(err)
	}
	if l.random.IntN(4) == 0 {
		items = items[:len(items)-1]
	}
	for _, f := range promise.Taken(items) {
		l.Note(f)
	}
	if err := l.queue.Ack(items); err != nil {
		t.Fatal(err)
	}
}

// setAside sets the oldest items aside; they must still exist.
func (l *life) setAside(t *testing.T, limit int) {
	for range min(limit, l.queue.Stats().Backlog) {
		items, err := l.queue.Take(1)
		if err == nil {
			err = l.queue.Reject(items[0], false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tryAgain acknowledges some of the items that were set aside.
func (l *life) tryAgain(t *testing.T) {
	items, err := l.queue.Rejected(&queue.Cursor{}, 1+l.random.IntN(5))
	if err != nil {
		t.Fatal(err)
	}
	items = items[l.random.IntN(len(items)+1):]
	for _, f := range promise.Taken(items) {
		l.Note(f)
	}
	if err := l.queue.Ack(items); err != nil {
		t.Fatal(err)
	}
}
