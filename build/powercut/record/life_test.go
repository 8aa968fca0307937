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

// TestLives records lives of a queue. It proves nothing: the images do.
func TestLives(t *testing.T) {
	if *out == "" {
		t.Skip("build/powercut/run says where to write")
	}
	rec := new(disk.Recording)
	for n := range *lives {
		random := rand.New(rand.NewPCG(*seed, uint64(n)))
		base, kept := []disk.File(nil), []promise.Fact(nil)
		if n > 0 {
			base, kept = survive(t, rec, random)
		}
		dir := filepath.Join(t.TempDir(), "life")
		if err := disk.Lay(dir, base); err != nil {
			t.Fatal(err)
		}
		l := &life{n: n, random: random}
		synctest.Test(t, func(t *testing.T) { rec = l.record(t, dir, base, kept) })
		if err := rec.Save(fmt.Sprintf("%s%d.rec", *out, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// survive is what a power cut leaves of a life: the disk, and the readings
// that a queue finds on it.
func survive(t *testing.T, rec *disk.Recording, random *rand.Rand) ([]disk.File, []promise.Fact) {
	t.Helper()
	base := disk.Before(rec, random.IntN(len(rec.Events)), false).Torn(random)
	dir := filepath.Join(t.TempDir(), "survivor")
	if err := disk.Lay(dir, base); err != nil {
		t.Fatal(err)
	}
	items, found := promise.Drain(dir, syncEvery)
	for _, b := range found {
		t.Logf("between two lives: %s", b) // an image of the life finds it again
	}
	return base, promise.Carry(items)
}

// A life is a queue and those who use it.
type life struct {
	*Recorder
	n      int
	random *rand.Rand
	queue  *promise.Running
	source *promise.Source
}

// record lives one life, from what a power cut has left.
func (l *life) record(t *testing.T, dir string, base []disk.File, kept []promise.Fact) *disk.Recording {
	boot := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(boot, fmt.Appendf(nil, "00000000-0000-4000-8000-%012d\n", l.n), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Recorder = New(dir, base, kept)
	l.Hook(boot)
	defer Unhook()
	l.start(t)
	for range 20 + l.random.IntN(40) {
		l.act(t)
	}
	if l.n == *lives-1 {
		switch *seed % 8 {
		case 2:
			l.swell(t, 200)
		case 6:
			l.swell(t, 300) // in one commit more than 1 MiB
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

// act does one thing, in virtual time.
func (l *life) act(t *testing.T) {
	switch n := l.random.IntN(100); {
	case n < 25:
		l.put(l.random.IntN(4), 1+l.random.IntN(3))
	case n < 45:
		l.put(1+l.random.IntN(30), 0)
	case n < 50:
		l.flap()
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
		time.Sleep(2 * time.Minute) // the queue tidies up
		synctest.Wait()
	default:
		l.stop(t)
		l.start(t)
	}
}

// swell makes the file large and empties it, so that the queue may want a
// smaller one: n readings of 4 kB at a time. It costs too much to be part of
// every life.
func (l *life) swell(t *testing.T, n int) {
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
	q, err := promise.Start(promise.Options(l.dir, syncEvery), slog.New(slog.DiscardHandler))
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

// flap puts alarms of several streams at once, so that they share a commit.
func (l *life) flap() {
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

// take acknowledges the oldest readings, or all but the last of them.
func (l *life) take(t *testing.T, most int) {
	if l.queue.Stats().Backlog == 0 {
		return
	}
	items, err := l.queue.Take(most)
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

// setAside takes the oldest out of the way; they are owed all the same.
func (l *life) setAside(t *testing.T, most int) {
	for range min(most, l.queue.Stats().Backlog) {
		items, err := l.queue.Take(1)
		if err == nil {
			err = l.queue.SetAside(items[0], false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tryAgain acknowledges some of what was set aside.
func (l *life) tryAgain(t *testing.T) {
	items, err := l.queue.Aside(&queue.Cursor{}, 1+l.random.IntN(5))
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
