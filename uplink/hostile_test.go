package uplink

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

const (
	maxHang   = 42 * time.Second // 40, and the wait for the next attempt
	runTime   = 43 * time.Second
	extraTime = time.Minute // longer, where the machine has other things to do
	maxLines  = 80          // of a log
	maxHeap   = 48 << 20    // bytes, held by maxAtOnce runs together
	// Each run is an agent and a broker under the race detector. More of them at once
	// need more than a busy core gives, and then answers are late on both sides.
	maxAtOnce = 56
)

// A hostileRun is the real link and a real queue against a fake broker.
type hostileRun struct {
	hostileCase
	fakeBroker *mqtttest.Broker
	network    func(context.Context, string) (net.Conn, error) // nil: TCP
	queue      *queue.Queue
	log        lines

	size    int // of the backlog at first
	left    int // of it, before the link is stopped
	stopped bool
}

// allHostileCases are hostileCases with both versions of MQTT, and hostileCases5.
func allHostileCases() []hostileCase {
	all := slices.Concat(hostileCases, hostileCases5)
	for _, c := range hostileCases {
		if !c.form311 {
			c.version, c.name = mqtt.V5, "5: "+c.name
			all = append(all, c)
		}
	}
	return all
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
// 40 s or goes on where that is right; it comes back at the pace of the back-off;
// the log says what is the matter; and nothing counts as delivered that the broker
// did not acknowledge. Here that is shown in memory, in the time of a bubble, for
// all cases but those that need a kernel's socket.
func TestAHostileBrokerIsEndured(t *testing.T) {
	for _, c := range allHostileCases() {
		if c.kernel {
			continue // TestAHostileBrokerIsEnduredOverTCP
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newPipeListener()
				d := &hostileRun{hostileCase: c, fakeBroker: mqtttest.Serve(l, c.script), network: l.dial}
				d.fill(filepath.Join(t.TempDir(), "queue.db"))
				d.run(time.Now().Add(runTime))
				d.check(t)
			})
		})
	}
}

// TestAHostileBrokerIsEnduredOverTCP: the same in real time, many cases at once, and in
// bounded memory.
func TestAHostileBrokerIsEnduredOverTCP(t *testing.T) {
	if !proving {
		t.Skip("takes minutes of real time: build/prove runs it")
	}
	goroutines := runtime.NumGoroutine()
	cases := slices.DeleteFunc(allHostileCases(), func(c hostileCase) bool { return c.exact })
	for some := range slices.Chunk(cases, maxAtOnce) {
		runOverTCP(t, some)
	}
	for range 100 {
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines before, %d after:\n%s", goroutines, runtime.NumGoroutine(),
		stacks[:runtime.Stack(stacks, true)])
}

// runOverTCP runs cases at the same time, and checks them and the memory of all.
func runOverTCP(t *testing.T, cases []hostileCase) {
	var runs []*hostileRun
	var all sync.WaitGroup
	for _, c := range cases {
		d := &hostileRun{hostileCase: c, fakeBroker: mqtttest.NewBroker(t, c.script)}
		runs = append(runs, d)
		path := filepath.Join(t.TempDir(), "queue.db")
		all.Go(func() { d.fill(path) })
	}
	all.Wait()
	heap, end := heapInUse(), time.Now().Add(runTime)
	for _, d := range runs {
		all.Go(func() { d.run(end) })
	}
	time.Sleep(time.Until(end.Add(-10 * time.Second)))
	// What is allocated while the collector runs counts until its next run: tens of
	// megabytes when most links connect in the same second. What is held stays.
	held := heapInUse()
	for time.Now().Before(end.Add(-time.Second)) {
		time.Sleep(time.Second)
		held = min(held, heapInUse())
	}
	if n := held - heap; n > maxHeap {
		t.Errorf("%d links hold %d MiB after 40 s", len(cases), n>>20)
	} else {
		t.Logf("%d links hold %d MiB after 40 s", len(cases), n>>20)
	}
	all.Wait()
	for _, d := range runs {
		t.Run(d.name, d.check)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// fill puts a backlog into a queue: an alarm waits for the disk, so all are
// filled at once.
func (d *hostileRun) fill(path string) {
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

// run runs the link until the end, and the fake broker a little longer.
func (d *hostileRun) run(end time.Time) {
	stop := d.start()
	time.Sleep(time.Until(end))
	for longer := end.Add(extraTime); !d.decided() && time.Now().Before(longer); time.Sleep(100 * time.Millisecond) {
	}
	stats := d.queue.Stats()
	d.left = stats.Backlog + stats.Rejected // of a stream that is held, the readings are kept
	d.stopped = stop()
}

// start starts the link and the queue. stop ends them and the fake broker, and reports
// whether the link stopped in time.
func (d *hostileRun) start() (stop func() bool) {
	scheme := "mqtt"
	if d.scheme != "" {
		scheme = d.scheme
	}
	opt := Options{Broker: mqtt.Broker{ClientID: "porch", KeepAlive: 15 * time.Second,
		Servers:  []*url.URL{{Scheme: scheme, Host: d.fakeBroker.Listener.Addr().String(), Path: "/mqtt"}},
		Protocol: d.version,
		Clock:    clock.NewTimekeeper(clock.TrustAlways),
		Network:  d.network}, Topics: payload.DefaultPatterns, Boot: d.queue.Boot(),
		Drain: Drain{Window: d.window}, Report: d.queue.Report, Stats: d.queue.Stats,
		Streams: []sensors.Stream{{Name: "room"}, {Name: "door"}}}
	link := New(opt, d.queue, DialMQTT(opt.Broker), slog.New(slog.NewTextHandler(&d.log, nil)))
	link.Observe(reading("room", 1))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.queue.Run(ctx) })
	done := make(chan struct{})
	running.Go(func() { link.Run(ctx); close(done) })
	return func() (stopped bool) {
		cancel()
		select {
		case <-done:
			stopped = true
		case <-time.After(10 * time.Second):
		}
		d.fakeBroker.Stop()
		running.Wait()
		d.queue.Close()
		return stopped
	}
}

// decided says that what has to happen did.
func (d *hostileRun) decided() bool {
	d.fakeBroker.Mu.Lock()
	defer d.fakeBroker.Mu.Unlock()
	if d.drains && d.queue.Stats().Backlog > 0 {
		return false
	}
	return d.keepsConnection || d.fakeBroker.Connects > 1
}

func (d *hostileRun) check(t *testing.T) {
	f, log, all := d.fakeBroker, d.log.String(), d.size
	if !d.stopped {
		t.Error("the link does not stop")
	}
	if d.left < all-len(f.Acked) {
		t.Errorf("%d of %d left, and the broker acknowledged %d", d.left, all, len(f.Acked))
	}
	least, most := 2, d.connects
	if d.keepsConnection {
		least, most = 1, max(1, d.connects)
	}
	if f.Connects < least || f.Connects > most {
		t.Errorf("%d connections in %v, want %d to %d", f.Connects, runTime, least, most)
	}
	hang := maxHang
	if d.waits {
		hang = time.Minute + maxHang - 40*time.Second
	}
	if !d.keepsConnection && f.Second.Sub(f.First) > hang {
		t.Errorf("the next attempt came after %v", f.Second.Sub(f.First))
	}
	if d.drains && d.left > 0 {
		t.Errorf("%d of %d left: the link should have gone on", d.left, all)
	}
	if n := 3*all + 100*f.Connects; f.Published > n {
		t.Errorf("%d messages sent, bound %d", f.Published, n)
	}
	for _, want := range d.want {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if d.not != "" && strings.Contains(log, d.not) {
		t.Errorf("the log says %q", d.not)
	}
	if n := strings.Count(log, "\n"); n > maxLines {
		t.Errorf("%d lines in the log", n)
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("%d connections, %d messages, %d acknowledged, %d left; the log:\n%s", f.Connects, f.Published,
			len(f.Acked), d.left, log)
	}
}

// first is the first of two results.
func first[A, B any](a A, _ B) A { return a }

// TestMessageThatStopsAcknowledgementsIsRejected: RabbitMQ reads on behind a message
// beyond its limit, answers pings, and acknowledges nothing any more. The message is
// named in the log, and all others arrive.
func TestMessageThatStopsAcknowledgementsIsRejected(t *testing.T) {
	for _, version := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		synctest.Test(t, func(t *testing.T) {
			l := newPipeListener()
			script := func(s *mqtttest.Conn) {
				s.AcceptConnect()
				s.Serve(func(p mqtttest.Packet) bool {
					// RabbitMQ has not confirmed what came in the same moment.
					s.AcksNothing = s.AcksNothing || p.Topic == "porch/door" || s.Input.Buffered() > 0 &&
						bytes.Contains(first(s.Input.Peek(s.Input.Buffered())), []byte("porch/door"))
					return false
				})
			}
			d := &hostileRun{hostileCase: hostileCase{script: script, version: version},
				fakeBroker: mqtttest.Serve(l, script), network: l.dial}
			d.fill(filepath.Join(t.TempDir(), "queue.db"))
			d.run(time.Now().Add(10 * time.Minute))
			if n := len(d.fakeBroker.Acked); n != d.size-1 || d.left != 1 {
				t.Errorf("MQTT %v: %d of %d were acknowledged, %d are left, want all but one", version, n, d.size, d.left)
			}
			log := d.log.String()
			for _, want := range []string{"stream=door", "tried again in a day",
				`why="the broker has acknowledged nothing for `, "and it answers pings"} {
				if !strings.Contains(log, want) {
					t.Errorf("MQTT %v: the log does not say %q:\n%s", version, want, log)
				}
			}
			if strings.Contains(log, "closed the connection") {
				t.Errorf("MQTT %v: the log says that the broker closed the connection:\n%s", version, log)
			}
		})
	}
}
