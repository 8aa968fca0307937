package uplink

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
)

// A replacedBroker speaks MQTT 5 and 3.1.1 until it is replaced by one that does not know 5,
// or by one that does. What it has acknowledged is kept by its [mqtttest.Broker].
type replacedBroker struct {
	refusal []byte // what the older one answers to MQTT 5 before it closes the connection
	silent  bool   // it neither answers nor closes
	answers func(s *mqtttest.Conn, p mqtttest.Packet) bool

	mu      sync.Mutex
	older   bool
	replace context.CancelFunc // ends the connections
	running context.Context    // until it is replaced
	levels  []bool             // of each CONNECT: it was of MQTT 5
}

// become ends all connections; from now on the broker speaks MQTT 5, or does not.
func (b *replacedBroker) become(older bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.replace != nil {
		b.replace()
	}
	b.older, b.levels = older, nil
	b.running, b.replace = context.WithCancel(context.Background())
}

// tried returns the versions of the CONNECTs since it was replaced.
func (b *replacedBroker) tried() (levels []bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.levels)
}

func (b *replacedBroker) script(s *mqtttest.Conn) {
	if _, ok := s.Next(); !ok {
		return
	}
	b.mu.Lock()
	b.levels = append(b.levels, s.V5)
	older, running := b.older, b.running
	b.mu.Unlock()
	defer context.AfterFunc(running, func() { s.Conn.Close() })()
	switch {
	case s.V5 && older && b.silent:
		s.Linger()
		return
	case s.V5 && older:
		s.Send(b.refusal...)
		return
	case s.V5:
		s.Send(0x20, 3, 0, 0, 0)
	default:
		s.Send(0x20, 2, 0, 0)
	}
	s.Serve(func(p mqtttest.Packet) bool { return s.V5 && b.answers != nil && b.answers(s, p) })
}

// replacements are what becomes of the broker, and which connections each time has.
var replacements = []struct {
	after  time.Duration
	older  bool
	levels []bool // it was of MQTT 5, of each CONNECT
}{
	{levels: []bool{true}},
	{older: true, levels: []bool{true, false}},
	{older: true, levels: []bool{false}}, // restarted
	{after: 48 * time.Hour, levels: []bool{true}},
}

// TestBrokerIsReplacedByAnotherVersion: a broker that spoke MQTT 5 is replaced by one that
// speaks 3.1.1 alone, and two days later by one that speaks 5. Each time the second
// connection at most is accepted, nothing is lost, and the log names the version once.
func TestBrokerIsReplacedByAnotherVersion(t *testing.T) {
	for name, b := range map[string]*replacedBroker{
		"0x84":                  {refusal: []byte{0x20, 3, 0, 0x84, 0}},
		"code 1, as 3.1.1 does": {refusal: []byte{0x20, 2, 0, 1}},
		"closes without answer": {},
		"does not answer":       {silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fallBack(t, b) })
		})
	}
}

// fallBack has a link deliver 50 readings after each replacement of the broker.
func fallBack(t *testing.T, b *replacedBroker) {
	d := replaced(t, b)
	for i, r := range replacements {
		time.Sleep(r.after)
		if i > 0 {
			b.become(r.older)
		}
		for seq := range uint64(50) {
			d.queue.Put(reading("room", 1000*uint64(i+1)+seq))
		}
		time.Sleep(2 * time.Minute)
		if got := b.tried(); !slices.Equal(got, r.levels) {
			t.Errorf("replacement %d: CONNECTs with MQTT 5: %v, want %v", i, got, r.levels)
		}
	}
	if n, want := len(d.acked()), d.size+50*len(replacements); n != want || d.queue.Stats().Backlog > 0 {
		t.Errorf("%d readings have arrived, want %d; %+v", n, want, d.queue.Stats())
	}
	log := d.log.String()
	for text, want := range map[string]int{"does not take MQTT 5": 1, "mqtt=3.1.1": 1, "mqtt=5": 2} {
		if n := strings.Count(log, text); n != want {
			t.Errorf("the log says %q %d times, want %d:\n%s", text, n, want, log)
		}
	}
}

// replaced runs a link to a broker until the test ends.
func replaced(t *testing.T, b *replacedBroker) *hostileRun {
	l := newPipeListener()
	b.become(false)
	d := &hostileRun{hostileCase: hostileCase{version: mqtt.Auto}, fakeBroker: mqtttest.Serve(l, b.script),
		network: l.dial}
	d.fill(filepath.Join(t.TempDir(), "queue.db"))
	stop := d.start()
	t.Cleanup(func() {
		if !stop() {
			t.Error("the link does not stop")
		}
	})
	return d
}

// acked returns the readings that the broker has acknowledged.
func (d *hostileRun) acked() map[string]bool {
	d.fakeBroker.Mu.Lock()
	defer d.fakeBroker.Mu.Unlock()
	return maps.Clone(d.fakeBroker.Acked)
}

// TestStateOfMQTT5IsNotKeptForABrokerOf311: a stream that the broker denied is tried
// again and delivered, and a stream that nobody heard does not count as unheard for as long
// as the older broker, which does not tell, is there.
func TestStateOfMQTT5IsNotKeptForABrokerOf311(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &replacedBroker{answers: func(s *mqtttest.Conn, p mqtttest.Packet) bool {
			code := map[string]byte{"porch/room": 0x10, "porch/door": 0x87}[p.Topic]
			if p.Kind != mqtttest.PublishPacket || p.ID == 0 || code == 0 {
				return false
			}
			if code == 0x10 {
				s.NoteAcked(p)
			}
			return s.SendPacket(0x40, []byte{byte(p.ID >> 8), byte(p.ID), code})
		}}
		d := replaced(t, b)
		time.Sleep(2 * time.Minute)
		if s := d.queue.Stats(); s.Backlog+s.Rejected != 1 ||
			!strings.Contains(d.log.String(), "a stream has no subscriber") {
			t.Fatalf("before: %+v\n%s", s, d.log.String())
		}
		b.become(true)
		d.queue.Put(reading("room", 5000))
		time.Sleep(5 * time.Minute)
		if s := d.queue.Stats(); s.Backlog+s.Rejected != 0 || len(d.acked()) != d.size+1 {
			t.Errorf("%d have arrived, want %d; %+v", len(d.acked()), d.size+1, s)
		}
		log := d.log.String()
		if n := strings.Count(log, "it is not known any more whether a stream has a subscriber"); n != 1 {
			t.Errorf("the log ends the unheard stream %d times, want once:\n%s", n, log)
		}
	})
}
