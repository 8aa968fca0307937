package main

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/link"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

const syncEvery = 5 * time.Second // the default

// reconnectLimit limits the wait for readings after resets of the session: a minute of back-off,
// and a backlog of some minutes that drains at the default rate.
const reconnectLimit = 4 * time.Minute

// wired is a broker, a cable with a tap, a subscriber and an agent.
type wired struct {
	broker *mosquitto
	cable  *link.Link
	tap    *wiretap
	sub    *subscriber
	agent  *agent
}

// wire sets everything up. delay delays data to the broker.
func wire(t *testing.T, broker *mosquitto, delay time.Duration, sensors string) *wired {
	t.Helper()
	return wireOver(t, broker, newWiretap(delay), quick, sensors)
}

// quick is a link without a limit of the rate and without a delay.
func quick(target string, tap func() cable.Tap) (*link.Link, error) {
	return link.New(target, tap, link.Shape{})
}

// wireOver is wire with a cable that newLink creates.
func wireOver(t *testing.T, broker *mosquitto, tap *wiretap, newLink func(string, func() cable.Tap) (*link.Link, error),
	sensors string) *wired {
	t.Helper()
	w := &wired{broker: broker, tap: tap}
	w.sub = subscribe(t, w.broker.addr, "#")
	var err error
	if w.cable, err = newLink(w.broker.addr, w.tap.tap); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.cable.Close() })
	w.agent = newAgent(t,
		fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %%DIR%%/queue.db}\nsensors:\n%s",
			w.cable.Addr(), sensors))
	return w
}

// more waits until n more readings of the stream have arrived.
func (w *wired) more(t *testing.T, stream string, n int) {
	t.Helper()
	have := len(w.sub.on("store/" + stream))
	eventually(t, reconnectLimit, fmt.Sprintf("%d more readings of %s", n, stream), func() bool {
		return w.sub.count("store/"+stream) >= have+n
	})
}

// live waits until new readings arrive without delay.
func (w *wired) live(t *testing.T, stream string) {
	t.Helper()
	eventually(t, reconnectLimit, stream+" is live", func() bool {
		last := w.sub.last("store/" + stream)
		return last.at.Sub(time.UnixMilli(last.TS)) < time.Second && time.Since(last.at) < time.Second
	})
}

// TestNoReadingIsLost tests the main promise: the broker is stopped and killed, the link is
// cut during a drain, and the agent is killed during a drain.
func TestNoReadingIsLost(t *testing.T) {
	minutesLong(t, true)
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 5*time.Millisecond, `
  load: {kind: simulated, counter: {}, every: 20ms}
  gate: {kind: simulated, steps: {states: [closed, open], every: 700ms}, alarm: true}
`)
	w.agent.retrySoon()
	w.agent.start()
	w.more(t, "load", 100)

	w.broker.stop()
	time.Sleep(20 * time.Second)
	w.broker.start()
	for range 5 {
		w.more(t, "load", 150)
		w.cable.Cut()
	}
	w.live(t, "load")
	for range 2 {
		w.broker.kill()
		time.Sleep(time.Second)
		w.broker.start()
		w.live(t, "load")
	}

	w.cable.Pull()
	time.Sleep(8 * time.Second)
	w.cable.Plug()
	w.more(t, "load", 100)
	w.agent.kill()
	killed := time.Now()
	w.agent.start()
	w.live(t, "load")
	w.live(t, "gate")
	w.agent.stop()

	boots := w.checkComplete(t, "load")
	w.checkTail(t, "load", boots[0], killed, syncEvery+500*time.Millisecond)
	w.checkComplete(t, "gate")
	w.checkSteps(t, "gate", boots[0], killed, 700*time.Millisecond)
	if len(boots) != 2 {
		t.Errorf("boots %v, want two", boots)
	}
}

// checkComplete compares the arrivals of a stream with what must have arrived: every number
// from 1 to the last, except those that the broker acknowledged and lost when it was
// killed; first arrivals in order. It returns the boots.
func (w *wired) checkComplete(t *testing.T, stream string) (boots []string) {
	t.Helper()
	seen, last := map[key]bool{}, map[string]uint64{}
	twice := 0
	for _, a := range w.sub.on("store/" + stream) {
		if !slices.Contains(boots, a.Boot) {
			boots = append(boots, a.Boot)
		}
		if seen[a.key()] {
			twice++
			continue
		}
		seen[a.key()] = true
		if a.Seq < last[a.Boot] {
			t.Errorf("%s: %d of boot %s first arrives after %d", stream, a.Seq, a.Boot, last[a.Boot])
		}
		last[a.Boot] = a.Seq
	}
	for _, boot := range boots {
		lost, broker := 0, 0
		for seq := uint64(1); seq <= last[boot]; seq++ {
			k := key{"store/" + stream, boot, seq}
			switch {
			case seen[k]:
			case w.tap.hasAcked(k):
				broker++
			default:
				lost++
			}
		}
		t.Logf("%s, boot %s: %d readings, %d came twice, %d lost by the broker after it acknowledged them", stream,
			boot, last[boot], twice, broker)
		if lost > 0 {
			t.Errorf("%s: %d of %d readings of boot %s never arrived and were never acknowledged", stream, lost,
				last[boot], boot)
		}
	}
	return boots
}

// checkTail checks how long before its end the agent's last reading was measured.
func (w *wired) checkTail(t *testing.T, stream, boot string, killed time.Time, most time.Duration) {
	t.Helper()
	var newest int64
	for _, a := range w.sub.on("store/" + stream) {
		if a.Boot == boot {
			newest = max(newest, a.TS)
		}
	}
	if tail := killed.Sub(time.UnixMilli(newest)); tail > most {
		t.Errorf("%s: the last %v before the kill are missing, allowed are %v", stream, tail, most)
	}
}

// checkSteps compares the last alarm with the last one that was due before the kill. An
// alarm in the last tenth of a second may not have reached the disk.
func (w *wired) checkSteps(t *testing.T, stream, boot string, killed time.Time, every time.Duration) {
	t.Helper()
	var first, last uint64
	var began time.Time
	for _, a := range w.sub.on("store/" + stream) {
		if a.Boot != boot {
			continue
		}
		if a.Seq == 1 {
			first, began = 1, time.UnixMilli(a.TS)
		}
		last = max(last, a.Seq)
	}
	due := uint64(killed.Add(-100*time.Millisecond).Sub(began)/every) + 1
	if first != 1 || last < due {
		t.Errorf("%s: the last alarm of boot %s is %d, and %d were due", stream, boot, last, due)
	}
}

func TestHealthyLinkWritesNothing(t *testing.T) {
	minutesLong(t, true)
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, "  load: {kind: simulated, counter: {}, every: 10ms}\n")
	w.agent.start()
	w.more(t, "load", 1)
	time.Sleep(5 * time.Second)
	before, count := w.agent.written(), w.sub.count("store/load")
	time.Sleep(time.Minute)
	if n := w.agent.written() - before; n != 0 {
		t.Errorf("%d bytes written in a minute with a healthy link", n)
	}
	if n := w.sub.count("store/load") - count; n < 5000 {
		t.Errorf("%d readings arrived in a minute, want about 6000: the test did not load the agent", n)
	}
	// Without a link the counter of written bytes grows, so it works.
	w.cable.Pull()
	eventually(t, time.Minute, "bytes are written in an outage (is the folder of the test on a disk?)", func() bool {
		return w.agent.written() > before
	})
	w.agent.stop()
}

func TestStateIsRightAtOnceAfterAnOutage(t *testing.T) {
	minutesLong(t, true)
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 20*time.Millisecond, `
  gate: {kind: simulated, steps: {states: [closed, open], every: 700ms}}
  load: {kind: simulated, counter: {}, every: 50ms}
`)
	w.agent.retrySoon()
	w.agent.start()
	w.live(t, "gate")
	w.cable.Pull()
	time.Sleep(20 * time.Second) // twice what makes a reading historical
	w.cable.Plug()
	plugged := time.Now()
	w.live(t, "gate")
	w.live(t, "load")
	w.agent.stop()

	states, conns := w.tap.snapshot()
	connected := conns[len(conns)-1]
	if connected.Before(plugged) {
		t.Fatal("the agent did not connect after the outage")
	}
	for _, stream := range []string{"gate", "load"} {
		newest := int64(0)
		var first published
		for _, s := range states {
			if s.topic != "store/"+stream+"/state" {
				continue
			}
			if s.TS < newest {
				t.Errorf("%s: a state of %d was published after one of %d", stream, s.TS, newest)
			}
			newest = max(newest, s.TS)
			if s.at.After(connected) && first.topic == "" {
				first = s
			}
		}
		// 400 readings wait. States get a third of the bytes, and up to 16 readings are sent in a row.
		if n := first.behind["store/load"]; first.topic == "" || n > 20 {
			t.Errorf("%s: %d routine readings were published before the first state after CONNACK", stream, n)
		}
		newer := 0 // one reading may be measured between the state and CONNACK
		for _, r := range w.sub.on("store/" + stream) {
			if r.TS > first.TS && r.TS <= connected.UnixMilli() {
				newer++
			}
		}
		if newer > 1 {
			t.Errorf("%s: %d readings before CONNACK are newer than the first state after it", stream, newer)
		}
		if first.Historical {
			t.Errorf("%s: a state says that it is historical", stream)
		}
	}
}

func TestNoStaleStateWhileOnline(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, "  cpu: {kind: hwmon, name: there_is_no_such_chip, every: 1s}\n")
	w.sub.client.Publish("store/cpu/state", 1, true,
		`{"ts":1763640000123,"boot":"1-9f3c02ab","seq":41,"value":45.2,"unit":"°C"}`).Wait()
	w.agent.start()
	eventually(t, time.Minute, "the state says that the sensor does not answer", func() bool {
		s := w.sub.last("store/cpu/state")
		return s.TS > 1763640000123 && s.Value == nil && s.Error != ""
	})
	w.agent.stop()
	late := subscribe(t, w.broker.addr, "store/#")
	eventually(t, time.Minute, "a late subscriber gets what is retained", func() bool {
		return late.last("/state").topic != "" && late.last("/agent/status").topic != ""
	})
	if s := late.last("/state"); s.Value != nil || !s.retained {
		t.Errorf("retained: %s", s.raw)
	}
	if s := late.last("/agent/status"); s.raw != "offline" {
		t.Errorf("status after the stop: %q", s.raw)
	}
}

func TestWillIsSentWhenTheAgentDies(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0, "  load: {kind: simulated, counter: {}, every: 1s}\n")
	w.agent.start()
	eventually(t, time.Minute, "online", func() bool { return w.sub.last("/agent/status").raw == "online" })
	w.agent.kill()
	eventually(t, time.Minute, "the will", func() bool { return w.sub.last("/agent/status").raw == "offline" })
}

func TestAgentStartsWithoutANetwork(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, ""), 0,
		"  gate: {kind: simulated, steps: {states: [closed, open], every: 200ms}, alarm: true}\n")
	w.cable.Pull()
	w.agent.start()
	time.Sleep(2 * time.Second)
	w.agent.kill() // alarms are on disk by now
	w.agent.start()
	w.cable.Plug()
	w.more(t, "gate", 20) // more than the first start made
	w.agent.stop()
	if boots := w.checkComplete(t, "gate"); len(boots) != 2 {
		t.Errorf("boots %v: the alarms of the first start are lost", boots)
	}
	if first := w.sub.on("store/gate")[0]; !first.Historical || first.Seq != 1 {
		t.Errorf("the first arrival is %s", first.raw)
	}
}

func TestEmbeddedBroker(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	a := newAgent(t,
		fmt.Sprintf("client_id: hut\nmqtt: {server: embedded, embedded: {listen: %q}}\nqueue: {path: "+
			"%%DIR%%/queue.db}\n"+
			"sensors:\n  load: {kind: simulated, counter: {}, every: 50ms}\n", addr))
	a.start()
	eventually(t, time.Minute, "the broker listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	s := subscribe(t, addr, "hut/#")
	eventually(t, time.Minute, "readings and the status arrive", func() bool {
		return s.count("hut/load") > 10 && s.last("/agent/status").raw == "online"
	})
	a.stop()
}
