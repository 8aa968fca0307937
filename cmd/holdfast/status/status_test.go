package status

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// A node is the data source of the collector.
type node struct {
	clock  *clock.Timekeeper
	stats  queue.Stats
	recent []queue.Item
	link   uplink.Status
	states []sensors.Reading
	lines  []outputs.Status
	panel  *arming.Status

	unheard map[string]uint64
}

func (n *node) Boot() string               { return "7-0badcafe" }
func (n *node) Stats() queue.Stats         { return n.stats }
func (n *node) Recent() []queue.Item       { return n.recent }
func (n *node) Status() uplink.Status      { return n.link }
func (n *node) States() []sensors.Reading  { return n.states }
func (n *node) Outputs() []outputs.Status  { return n.lines }
func (n *node) Arming() *arming.Status     { return n.panel }
func (n *node) Unheard() map[string]uint64 { return n.unheard }

func (n *node) collector(history bool) *Collector {
	n.clock = clock.NewTimekeeper(clock.TrustAlways)
	return NewCollector(uplink.Options{Broker: mqtt.Broker{ClientID: "porch", Clock: n.clock}, Version: "1.2.3",
		Hardware: "a board", Problems: func() []string { return []string{"I2C is switched off."} },
		Streams: []sensors.Stream{
			{Name: "door", Kind: "contact", Priority: sensors.Alarm, Quantity: sensors.Quantity{Class: "door"}},
			{Name: "room", Kind: "aht20", Quantity: sensors.Quantity{Unit: "%"}},
			{Name: "cellar", Kind: "w1"},
		}}, n, n, n, history)
}

func TestSnapshotHasTheStateOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		c := n.collector(false)
		then := n.clock.Now()
		began := time.Now()
		time.Sleep(90 * time.Second)
		n.states = []sensors.Reading{
			{Stream: "room", Value: 45.2, At: n.clock.Now(), Seq: 9},
			{Stream: "door", Err: "line is held by another program", At: then, Seq: 2},
		}
		n.link = uplink.Status{Connected: true, Server: "broker:8883", Since: began, Rate: 3.5, Produced: 1,
			RoundTrip: 20 * time.Millisecond, NoOrders: "the broker denies to read porch/siren/set",
			LastError: "reset", LastErrorAt: began, CertExpires: time.Now().Add(10 * 24 * time.Hour)}
		n.unheard = map[string]uint64{"room": 4}
		n.stats = queue.Stats{Backlog: 50, Oldest: then, Missing: 3, Dropped: 2, WrittenToday: 4096}
		n.recent = []queue.Item{
			{Event: "fault", Details: `{"stream":"door"}`, Reading: sensors.Reading{At: then}},
			{Event: "odd", Details: `{`, Reading: sensors.Reading{At: then}},
		}
		s := c.Snapshot(true)
		age := func(at int64) float64 { return float64(s.Time-at) / 1000 }
		door, room, cellar := s.Streams[0], s.Streams[1], s.Streams[2]
		if door.Value != nil || door.Error == "" || math.Round(age(door.At)) != 90 || !door.Alarm {
			t.Errorf("door: %+v, %v s old", door, age(door.At))
		}
		if *room.Value != 45.2 || age(room.At) > 1 || room.Unit != "%" || room.History != nil {
			t.Errorf("room: %+v", room)
		}
		if cellar.At != 0 || cellar.Value != nil || cellar.Error != "" {
			t.Errorf("cellar: %+v, want no reading yet", cellar)
		}
		if q := s.Queue; math.Round(q.Oldest) != 90 || q.Left != 20 || q.Missing != 3 || q.WrittenToday != 4096 {
			t.Errorf("queue: %+v", q)
		}
		if l := s.Link; math.Round(age(l.Since)) != 90 || l.NextTry != 0 || l.Unheard["room"] != 4 || l.RoundTrip != 0.02 {
			t.Errorf("link: %+v", l)
		}
		want := []string{"No orders arrive: the broker denies to read porch/siren/set.",
			"A certificate of the connection expires in 10 days.", "I2C is switched off."}
		if !slices.Equal(s.Problems, want) {
			t.Errorf("problems: %q", s.Problems)
		}
		if len(s.Events) != 2 || math.Round(age(s.Events[0].At)) != 90 || string(s.Events[1].Details) != "{}" {
			t.Errorf("events: %+v", s.Events)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
		n.link.Connected = false
		if left := c.Snapshot(false).Queue.Left; left != -1 {
			t.Errorf("disconnected, and %v s are left", left)
		}
	})
}

func TestSnapshotHasOutputsAndArming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		c := n.collector(false)
		if s := c.Snapshot(false); s.Outputs == nil || len(s.Outputs) != 0 || s.Arming != nil {
			t.Errorf("without any: %+v, %+v", s.Outputs, s.Arming)
		}
		time.Sleep(time.Hour)
		now := time.Now()
		n.lines = []outputs.Status{
			{Name: "siren", Class: "siren", On: true, By: "rule:intruder", Since: now.Add(-9 * time.Second),
				Until: now.Add(171 * time.Second)},
			{Name: "pump", RestUntil: now.Add(-time.Second), Commands: true},
			{Name: "door", On: true, Err: "i2c-1 0x20: no acknowledge"},
		}
		n.panel = &arming.Status{State: "pending", By: "front_door", Since: now.Add(-time.Second),
			Until: now.Add(29 * time.Second), Bypass: []string{"hall"}}
		s := c.Snapshot(false)
		in := func(at int64) float64 { return math.Round(float64(at-s.Time) / 1000) }
		siren, pump, door := s.Outputs[0], s.Outputs[1], s.Outputs[2]
		if siren.State != On || in(siren.Since) != -9 || in(siren.Until) != 171 || siren.By != "rule:intruder" {
			t.Errorf("siren: %+v", siren)
		}
		if pump.State != Off || pump.Since != 0 || pump.Until != 0 || pump.RestUntil != 0 || !pump.Commands {
			t.Errorf("pump: %+v, want off, and a rest that is over", pump)
		}
		if door.State != Unknown || !slices.Contains(s.Problems,
			"The state of output door is unknown: i2c-1 0x20: no acknowledge.") {
			t.Errorf("door: %+v, problems %q", door, s.Problems)
		}
		if a := s.Arming; a.State != "pending" || in(a.Until) != 29 || a.Open == nil || a.Bypass[0] != "hall" {
			t.Errorf("arming: %+v", a)
		}
		if left := s.Sensors(); len(left) != 2 || left[0].Name != "room" {
			t.Errorf("streams of sensors: %+v, want them without the output door", left)
		}
	})
}

// TestSnapshotHasDisplayNames: outputs and the panel have those of their streams.
func TestSnapshotHasDisplayNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{lines: []outputs.Status{{Name: "cellar"}, {Name: "other"}}, panel: &arming.Status{}}
		c := n.collector(false)
		c.opt.Title, c.opt.Area = "厨房", "1階"
		c.opt.Streams[0].Title = "Haustür"
		c.opt.Streams[2].Title, c.opt.Streams[2].Area = "Pumpe", "Keller"
		c.opt.Streams = append(c.opt.Streams, sensors.Stream{Name: arming.StreamName, Title: "Panel", Area: "Flur"})
		s := c.Snapshot(false)
		got := []string{s.Node.Title, s.Node.Area, s.Streams[0].Title, s.Streams[1].Title, s.Outputs[0].Title,
			s.Outputs[0].Area, s.Outputs[1].Title, s.Arming.Title, s.Arming.Area}
		want := []string{"厨房", "1階", "Haustür", "", "Pumpe", "Keller", "", "Panel", "Flur"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestHistoryIsTheLastHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		c := n.collector(true)
		for i := range 200 { // two hours and more
			c.Observe(sensors.Reading{Stream: "room", Value: float64(i), At: n.clock.Now()})
			c.Observe(sensors.Reading{Stream: "room", Value: float64(i + 2), At: n.clock.Now()})
			time.Sleep(slotLength)
		}
		c.Observe(sensors.Reading{Stream: "room", Err: "gone", At: n.clock.Now()})
		time.Sleep(5 * slotLength)
		h := c.Snapshot(true).Streams[1].History
		if len(h.Values) != slots || h.Step != 40 {
			t.Fatalf("%d values of %v s", len(h.Values), h.Step)
		}
		for i, v := range h.Values[:slots-6] {
			if want := float32(200 - (slots - 6) + i + 1); v != want {
				t.Errorf("slot %d is %v, want the mean %v", i, v, want)
			}
		}
		for _, v := range h.Values[slots-6:] {
			if !math.IsNaN(float64(v)) {
				t.Errorf("%v where nothing was measured", v)
			}
		}
		if h := c.Snapshot(false).Streams[1].History; h != nil {
			t.Error("a history that was not asked for")
		}
	})
}

func TestHistorySurvivesAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		before := n.collector(true)
		for _, stream := range []string{"room", "cellar"} {
			before.Observe(sensors.Reading{Stream: stream, Value: 7, At: n.clock.Now()})
		}
		started := before.Snapshot(false).Node.Started
		time.Sleep(slotLength)
		opt := before.opt
		opt.Streams = opt.Streams[:2] // the cellar is gone
		after := before.Follow(opt, n, true)
		after.Observe(sensors.Reading{Stream: "room", Value: 9, At: n.clock.Now()})
		s := after.Snapshot(true)
		if h := s.Streams[1].History; h == nil || len(h.Values) != 2 || h.Values[0] != 7 || h.Values[1] != 9 {
			t.Errorf("the history of the room is %+v, want 7 and 9", h)
		}
		if after.rings["cellar"] != nil || s.Node.Started != started {
			t.Errorf("kept %v of a stream that is gone; started %d, want %d", after.rings["cellar"], s.Node.Started, started)
		}
		if off := after.Follow(opt, n, false); off.Snapshot(true).Streams[1].History != nil {
			t.Error("a history that nobody asked for")
		}
	})
}

func TestHistoryOfANewStreamIsShort(t *testing.T) {
	var r ring
	r.add(10*slotLength, 5)
	r.add(12*slotLength, 7)
	r.add(11*slotLength, 99) // an edge that was reported late
	text, err := json.Marshal(r.history(13))
	if err != nil || string(text) != `{"step_s":40,"values":[5,null,7,null]}` {
		t.Errorf("%s, %v", text, err)
	}
	var back History
	err = json.Unmarshal(text, &back)
	if err != nil || len(back.Values) != 4 || back.Values[2] != 7 || back.Step != 40 {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

// FuzzHistory: the JSON of another program is an error, or gives the same history when it
// is written again.
func FuzzHistory(f *testing.F) {
	f.Add([]byte(`{"step_s":40,"values":[5,null,7.25]}`))
	f.Add([]byte(`{"step_s":1e999,"values":[null,"x"]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h, again History
		if json.Unmarshal(data, &h) != nil {
			return
		}
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		err = json.Unmarshal(text, &again)
		if err != nil || len(again.Values) != len(h.Values) || again.Step != h.Step {
			t.Errorf("%s becomes %s: %+v, %v", data, text, again, err)
		}
	})
}
