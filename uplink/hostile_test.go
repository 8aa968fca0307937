package uplink

import (
	"context"
	"log/slog"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

const (
	mostHang  = 42 * time.Second // 40, and the wait for the next attempt
	duelTime  = 43 * time.Second
	busyTime  = time.Minute // longer, where the machine has other things to do
	mostLines = 80          // of a log
	mostHeap  = 48 << 20    // bytes, of all duels together
)

// A duel is the real link and a real queue against a foe.
type duel struct {
	villainy
	foe   *foe
	queue *queue.Queue
	log   lines

	size    int // of the backlog at first
	left    int // of it, before the link is stopped
	stopped bool
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.text.String() }

// TestAHostileBrokerIsEndured: whatever a broker does, the link gives up within
// 40 s or goes on where that is right; it comes back at the pace of the back-off,
// in bounded memory; the log says what is the matter; and nothing counts as
// delivered that the broker did not acknowledge. All duels are fought at once.
func TestAHostileBrokerIsEndured(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	var duels []*duel
	var all sync.WaitGroup
	for _, v := range villainies {
		d := &duel{villainy: v, foe: newFoe(t, v.script)}
		duels = append(duels, d)
		path := filepath.Join(t.TempDir(), "queue.db")
		all.Go(func() { d.fill(path) })
	}
	all.Wait()
	heap, end := heapInUse(), time.Now().Add(duelTime)
	for _, d := range duels {
		all.Go(func() { d.fight(end) })
	}
	time.Sleep(time.Until(end.Add(-time.Second)))
	if n := heapInUse() - heap; n > mostHeap {
		t.Errorf("the links hold %d MiB after 40 s", n>>20)
	} else {
		t.Logf("the links hold %d MiB after 40 s", n>>20)
	}
	all.Wait()
	for _, d := range duels {
		t.Run(d.name, d.judge)
	}
	for range 100 {
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines before, %d after:\n%s", goroutines, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// fill puts a backlog into a queue: an alarm waits for the disk, so all are
// filled at once.
func (d *duel) fill(path string) {
	q, err := queue.Open(queue.Options{Path: path, MaxSize: 64 << 20, SyncEvery: time.Minute,
		Clock: clock.NewTimekeeper(clock.TrustAlways)}, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	d.size = max(d.backlog, 200)
	for seq := range uint64(d.size - 1) {
		q.Put(reading("room", seq+1))
	}
	q.Put(alarmOf("door", 1))
	d.queue = q
}

// fight runs the link until the end, and the foe longer.
func (d *duel) fight(end time.Time) {
	scheme := "mqtt"
	if d.scheme != "" {
		scheme = d.scheme
	}
	opt := Options{ClientID: "porch", Topics: DefaultTopics, Boot: d.queue.Boot(), KeepAlive: 15 * time.Second,
		Servers: []*url.URL{{Scheme: scheme, Host: d.foe.listener.Addr().String(), Path: "/mqtt"}},
		Drain:   Drain{Window: d.window}, Report: d.queue.Report, Stats: d.queue.Stats,
		Clock: clock.NewTimekeeper(clock.TrustAlways), Streams: []sensors.Stream{{Name: "room"}, {Name: "door"}}}
	link := New(opt, d.queue, DialMQTT(opt), slog.New(slog.NewTextHandler(&d.log, nil)))
	link.Observe(reading("room", 1))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.queue.Run(ctx) })
	done := make(chan struct{})
	running.Go(func() { link.Run(ctx); close(done) })

	time.Sleep(time.Until(end))
	for longer := end.Add(busyTime); !d.decided() && time.Now().Before(longer); time.Sleep(100 * time.Millisecond) {
	}
	stats := d.queue.Stats()
	d.left = stats.Backlog + stats.Aside // of a stream that is held, the readings are kept
	stop()
	select {
	case <-done:
		d.stopped = true
	case <-time.After(10 * time.Second):
	}
	d.foe.close()
	running.Wait()
	d.queue.Close()
}

// decided says that what has to happen did.
func (d *duel) decided() bool {
	d.foe.mu.Lock()
	defer d.foe.mu.Unlock()
	if d.drains && d.queue.Stats().Backlog > 0 {
		return false
	}
	return d.goesOn || d.foe.connects > 1
}

func (d *duel) judge(t *testing.T) {
	f, log, all := d.foe, d.log.String(), d.size
	if !d.stopped {
		t.Error("the link does not stop")
	}
	if d.left < all-len(f.acked) {
		t.Errorf("%d of %d left, and the broker acknowledged %d", d.left, all, len(f.acked))
	}
	least, most := 2, d.connects
	if d.goesOn {
		least, most = 1, max(1, d.connects)
	}
	if f.connects < least || f.connects > most {
		t.Errorf("%d connections in %v, want %d to %d", f.connects, duelTime, least, most)
	}
	if !d.goesOn && f.second.Sub(f.first) > mostHang {
		t.Errorf("the next attempt came after %v", f.second.Sub(f.first))
	}
	if d.drains && d.left > 0 {
		t.Errorf("%d of %d left: the link should have gone on", d.left, all)
	}
	if n := 3*all + 100*f.connects; f.published > n {
		t.Errorf("%d messages sent, bound %d", f.published, n)
	}
	for _, want := range d.want {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if d.not != "" && strings.Contains(log, d.not) {
		t.Errorf("the log says %q", d.not)
	}
	if n := strings.Count(log, "\n"); n > mostLines {
		t.Errorf("%d lines in the log", n)
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("%d connections, %d messages, %d acknowledged, %d left; the log:\n%s", f.connects, f.published, len(f.acked), d.left, log)
	}
}
