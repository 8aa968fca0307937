package main

import (
	"encoding/json"
	"math"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

const brokerName = "broker.example.com:8883"

// A scene is a simulated node for pictures: it has an hour of history at once, and always
// the same values.
type scene struct {
	change  func(*status.Snapshot) // what is special in this scene
	streams []status.Stream
}

// Snapshot is the present state of the simulated node.
func (s *scene) Snapshot(history bool) status.Snapshot {
	now := time.Now().UnixMilli()
	ago := func(d time.Duration) int64 { return now - d.Milliseconds() }
	snap := status.Snapshot{
		Time: now,
		Node: status.Node{ClientID: "store-12", Version: "0.1.0", Hardware: "Raspberry Pi Zero W Rev 1.1",
			Boot: "17-9f3c02ab", Started: ago(93 * time.Hour)},
		Link: status.Link{Connected: true, Server: brokerName, Since: ago(29 * time.Hour), RoundTrip: 0.043},
		Queue: status.Queue{Rate: 1.4, Delivered: 418_233, Written: 9 << 20, WrittenToday: 1_200_000,
			CommitsToday: 96},
		Clock:    status.Clock{Quality: "ok", Source: "kernel (NTP)"},
		Problems: []string{},
		Events: []status.Event{
			event(1, ago(93*time.Hour), "unclean_start", map[string]any{"last": "16-51d0c77e"}),
			event(2, ago(51*time.Minute), "fault", map[string]any{"sensor": "cellar", "stream": "cellar",
				"error": "w1 28-0316a2797bff: CRC does not match", "failures": 3}),
			event(3, ago(49*time.Minute), "recovered", map[string]any{"sensor": "cellar", "after_s": 96}),
			event(4, ago(21*time.Minute), "fault", map[string]any{"sensor": "cellar", "stream": "cellar",
				"error": "w1 28-0316a2797bff: no answer", "failures": 3}),
		},
	}
	guard(&snap)
	for _, st := range s.streams {
		if st.At == 0 {
			st.At = ago(time.Duration(len(st.Name)*270) * time.Millisecond)
		} else {
			st.At = ago(time.Duration(st.At))
		}
		if !history {
			st.History = nil
		}
		st.Seq = uint64(now / 1000)
		snap.Streams = append(snap.Streams, st)
	}
	if s.change != nil {
		s.change(&snap)
	}
	return snap
}

// guard adds an armed alarm panel and its outputs.
func guard(s *status.Snapshot) {
	ago := func(d time.Duration) int64 { return s.Time - d.Milliseconds() }
	s.Arming = &status.Arming{State: "armed_away", By: "key", Since: ago(9 * time.Hour), Open: []string{},
		Bypass: []string{"hall"}}
	s.Outputs = []status.Output{
		{Name: "siren", Class: "siren", State: status.Off, By: "max_on", Since: ago(31 * time.Hour)},
		{Name: "pump", Class: "switch", State: status.On, By: "order:a1", Since: ago(4 * time.Minute),
			Until: ago(-6 * time.Minute), Commands: true},
		{Name: "water_valve", Class: "valve", State: status.Off},
	}
}

func event(seq uint64, at int64, name string, details map[string]any) status.Event {
	text, err := json.Marshal(details)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return status.Event{At: at, Seq: seq, Name: name, Details: text}
}

// wave is an hour of a value that oscillates, with a little noise, rounded to places.
func wave(name, unit, class string, mean, swing, period, noise float64, places int) status.Stream {
	h := &status.History{Step: 40}
	scale := math.Pow10(places)
	for i := range 90 {
		jitter := math.Sin(float64(i*i)*1.7+mean) * noise
		v := mean + swing*math.Sin(float64(i)/period+mean) + jitter
		h.Values = append(h.Values, float32(math.Round(v*scale)/scale))
	}
	v := math.Round(float64(h.Values[89])*scale) / scale
	return status.Stream{Name: name, Kind: "bme280", Unit: unit, Class: class, Value: &v, History: h}
}

// door is a contact that is open in some slots of the hour.
func door(name, class string, words [2]string, open ...int) status.Stream {
	h := &status.History{Step: 40, Values: make([]float32, 90)}
	for _, i := range open {
		h.Values[i] = 1
	}
	v := float64(h.Values[89])
	return status.Stream{Name: name, Kind: "contact", Class: class, Alarm: true, Sparse: true, Value: &v,
		State: words[int(v)], History: h, At: int64(4 * time.Minute)}
}

// house has the streams of a store with some sensors.
func house() []status.Stream {
	lost := wave("cellar", "°C", "temperature", 11, 0.4, 20, 0.1, 2)
	for i := 58; i < 90; i++ {
		lost.History.Values[i] = float32(math.NaN())
	}
	lost.Value, lost.At = nil, int64(21*time.Minute)
	lost.Error = "w1 28-0316a2797bff: no answer: is the data line connected, with its pull-up?"
	return []status.Stream{
		door("front_door", "door", [2]string{"closed", "open"}, 12, 13, 31, 32, 33, 60, 88, 89),
		door("back_door", "door", [2]string{"closed", "open"}, 44),
		door("hall", "motion", [2]string{"clear", "motion"}, 11, 12, 13, 14, 30, 31, 59, 60, 61),
		wave("room_temperature", "°C", "temperature", 21.3, 0.7, 14, 0.06, 2),
		wave("room_humidity", "%", "humidity", 46, 5, 17, 0.5, 1),
		wave("room_pressure", "hPa", "pressure", 1013.2, 0.9, 30, 0.03, 1),
		wave("freezer", "°C", "temperature", -18.4, 1.3, 5, 0.15, 2),
		door("freezer_alarm", "problem", [2]string{"ok", "alarm"}),
		lost,
		wave("tank_level", "%", "", 63, 9, 60, 0.2, 1),
		wave("cpu_temperature", "°C", "temperature", 48.5, 2, 9, 0.9, 1),
		wave("supply_voltage", "V", "voltage", 5.07, 0.02, 11, 0.01, 3),
		door("siren", "siren", [2]string{"off", "on"}),
		door("pump", "", [2]string{"off", "on"}, 20, 21, 22, 23, 83, 84, 85, 86, 87, 88, 89),
		door("water_valve", "valve", [2]string{"off", "on"}),
	}
}

// scenes are what the pictures show.
var scenes = map[string]func(*status.Snapshot){
	"fault": nil,
	"names": named,
	"alarm": func(s *status.Snapshot) {
		now := s.Time
		s.Arming = &status.Arming{State: "triggered", By: "front_door", Since: now - 9_000, Until: now + 171_000,
			Open: []string{"front_door"}, Bypass: []string{}, LockedUntil: now + 48_000}
		s.Outputs[0] = status.Output{Name: "siren", Class: "siren", State: status.On, By: "rule:intruder",
			Since: now - 9_000, Until: now + 171_000}
		s.Outputs[1].State, s.Outputs[1].Until, s.Outputs[1].By = status.Off, 0, "max_on"
		s.Outputs[1].Since, s.Outputs[1].RestUntil = now-20_000, now+40_000
		s.Outputs[2].State, s.Outputs[2].Error = status.Unknown, "i2c-1 0x20: no acknowledge"
		s.Problems = []string{"The state of output water_valve is unknown: i2c-1 0x20: no acknowledge."}
		for i := range s.Streams {
			if st := &s.Streams[i]; st.Name == "siren" {
				on := 1.0
				st.Value, st.State = &on, "on"
				if st.History != nil { // only the first snapshot of a viewer has histories
					st.History = &status.History{Step: 40, Values: append(make([]float32, 89), 1)}
				}
			}
		}
	},
	"outage": func(s *status.Snapshot) {
		s.Link = status.Link{Server: brokerName, Since: s.Time - 47*60_000, NextTry: s.Time + 24_000,
			Error: brokerName + ": dial tcp: lookup broker.example.com: no such host", ErrorAt: s.Time - 36_000}
		s.Queue.Backlog, s.Queue.Oldest, s.Queue.Left, s.Queue.Rate = 3948, 47*60, -1, 0
		s.Queue.WrittenToday, s.Queue.Memory = 3_400_000, 14
	},
	"drain": func(s *status.Snapshot) {
		s.Link.Since = s.Time - 9_000
		s.Link.Error, s.Link.ErrorAt = "connection lost: the broker does not answer", s.Time-48*60_000
		s.Queue.Backlog, s.Queue.Oldest, s.Queue.Rate, s.Queue.Left = 2210, 31*60, 248, 8.9
	},
}

// named gives the house display names: long ones, and some in scripts that are wider, that
// have no blanks to break at, or that run from right to left.
func named(s *status.Snapshot) {
	s.Node.Title, s.Node.Area = "厨房 und Vorratsraum im Erdgeschoss links, Filiale Zürich-West", "1階　台所"
	s.Arming.Title, s.Arming.Area = "Alarmanlage Erdgeschoss", "Flur"
	s.Outputs[0].Title, s.Outputs[0].Area = "Sirene auf dem Dach über dem Eingang", "Dach"
	names := []string{"Haustür vorne 🚪", "冷蔵庫の湿度センサー（左側の棚の上から三番目）", "دمای آشپزخانه",
		"Gefrierschranktemperaturüberwachung Obergeschoss links hinten", ""}
	areas := []string{"Flur", "1階　台所", "طبقه همکف", "", "Keller"}
	for i := range s.Streams {
		s.Streams[i].Title, s.Streams[i].Area = names[i%len(names)], areas[i%len(areas)]
	}
}
