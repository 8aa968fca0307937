package page

import (
	"database/sql"
	"encoding/json"
	"math"
	"net/http"
	"time"
)

// Maximum numbers of elements in one answer.
const (
	maxGaps   = 1000
	maxAlarms = 1000
	maxEvents = 1000
)

// optional returns nil for NULL, which becomes null in JSON.
func optional[T any](n sql.Null[T]) *T {
	if !n.Valid {
		return nil
	}
	return &n.V
}

// number returns nil, null in JSON, for an unknown number, NaN or infinity: JSON has neither,
// and a sum can overflow.
func number(f float64, known bool) *float64 {
	if !known || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

func integer(n sql.NullInt64) *int64   { return optional(sql.Null[int64]{V: n.Int64, Valid: n.Valid}) }
func boolean(b sql.NullBool) *bool     { return optional(sql.Null[bool]{V: b.Bool, Valid: b.Valid}) }
func word(s sql.NullString) *string    { return optional(sql.Null[string]{V: s.String, Valid: s.Valid}) }
func float(f sql.NullFloat64) *float64 { return number(f.Float64, f.Valid) }

// A device is an element of /api/fleet; see store.Device. Times are Unix milliseconds.
type device struct {
	Device      string       `json:"device"`
	FirstSeen   int64        `json:"first_seen"`
	Online      *bool        `json:"online"`
	OnlineSince *int64       `json:"online_since"`
	LastAt      *int64       `json:"last_at"`
	Streams     int          `json:"streams"`
	Missing     int64        `json:"missing"`
	Status      deviceStatus `json:"status"`
	Faults      []string     `json:"faults"`
}

// A deviceStatus is the latest status that a device sent.
type deviceStatus struct {
	Version  string   `json:"version"`
	Boot     string   `json:"boot"`
	Hardware string   `json:"hardware"`
	HealthAt *int64   `json:"health_at"`
	Backlog  *int64   `json:"backlog"`
	Oldest   *float64 `json:"oldest_seconds"`
	Dropped  *int64   `json:"dropped"`
	Clock    string   `json:"clock"`
}

// fleet answers with all devices.
func (s *server) fleet(r *http.Request) (any, error) {
	if err := query(r.URL.Query()).checkNames(); err != nil {
		return nil, err
	}
	all, err := s.store.Fleet(r.Context())
	out := make([]device, 0, len(all))
	for _, d := range all {
		// Anyone who may publish can send invalid faults: use an empty list then, so that one
		// device does not break the answer for all others.
		var faults []string
		if err := json.Unmarshal([]byte(d.Faults), &faults); err != nil || faults == nil {
			faults = []string{}
		}
		out = append(out, device{
			Device: d.Name, FirstSeen: d.FirstSeen, Online: boolean(d.Online), OnlineSince: integer(d.OnlineSince),
			LastAt: integer(d.LastAt), Streams: d.Streams, Missing: d.Missing, Faults: faults,
			Status: deviceStatus{Version: d.Version, Boot: d.Boot, Hardware: d.Hardware, HealthAt: integer(d.HealthAt),
				Backlog: integer(d.Backlog), Oldest: float(d.Oldest), Dropped: integer(d.Dropped), Clock: d.Clock},
		})
	}
	return struct {
		At      int64    `json:"at"` // the recorder's clock, to compute ages with
		Devices []device `json:"devices"`
	}{time.Now().UnixMilli(), out}, err
}

// A reading is the newest one of a stream.
type reading struct {
	TS         int64    `json:"ts"`
	ReceivedAt int64    `json:"received_at"`
	Value      *float64 `json:"value"`
	State      *string  `json:"state"`
	Unit       *string  `json:"unit"`
	Error      *string  `json:"error"`
	Clock      *string  `json:"clock"`
	Late       bool     `json:"late"`
}

// A stream is a stream of a device. Last is null if it has no reading.
type stream struct {
	Stream string   `json:"stream"`
	Last   *reading `json:"last"`
}

// streams answers with the streams of a device.
func (s *server) streams(r *http.Request) (any, error) {
	if err := query(r.URL.Query()).checkNames(); err != nil {
		return nil, err
	}
	name := r.PathValue("device")
	all, err := s.store.Streams(r.Context(), name)
	out := make([]stream, 0, len(all))
	for _, i := range all {
		one := stream{Stream: i.Name}
		if l := i.Last; l.TS != 0 {
			one.Last = &reading{TS: l.TS, ReceivedAt: l.ReceivedAt, Value: float(l.Value), State: word(l.State),
				Unit: word(l.Unit), Error: word(l.Error), Clock: word(l.Clock), Late: l.Historical}
		}
		out = append(out, one)
	}
	return struct {
		Device  string   `json:"device"`
		Streams []stream `json:"streams"`
	}{name, out}, err
}

// A bucket summarises the readings from TS until the next bucket. Min, Max and Mean are null
// if no reading had a value.
type bucket struct {
	TS     int64    `json:"ts"`
	Count  int64    `json:"count"`
	Errors int64    `json:"errors"`
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
	Mean   *float64 `json:"mean"`
	Late   *int64   `json:"late"`
}

// A gap is a range of sequence numbers that are missing, were filled later, or were declared
// lost. Begin and End are the measurement times of the readings around it.
type gap struct {
	Begin   int64  `json:"begin"`
	End     int64  `json:"end"`
	Boot    string `json:"boot"`
	FromSeq int64  `json:"from_seq"`
	ToSeq   int64  `json:"to_seq"`
	Count   int64  `json:"count"`
	State   string `json:"state"`
	Why     string `json:"why"`
}

// A series is the history of one stream.
type series struct {
	Device   string   `json:"device"`
	Stream   string   `json:"stream"`
	From     int64    `json:"from"`
	To       int64    `json:"to"`
	Width    int64    `json:"width"` // of a bucket, milliseconds
	Buckets  []bucket `json:"buckets"`
	Gaps     []gap    `json:"gaps"`
	MoreGaps bool     `json:"more_gaps"` // there are more than maxGaps
	// Alarms are the changes of the alarm that the agent derives from the stream.
	Alarms     []alarm `json:"alarms"`
	MoreAlarms bool    `json:"more_alarms"` // there are more than maxAlarms
}

// An alarm begins with the state "alarm", and ends with another.
type alarm struct {
	TS    int64  `json:"ts"`
	State string `json:"state"`
}

// stream answers with the history of a stream. Buckets without readings are left out.
func (s *server) stream(r *http.Request) (any, error) {
	span, w, err := query(r.URL.Query()).span(time.Now())
	if err != nil {
		return nil, err
	}
	span.Device, span.Stream = r.PathValue("device"), r.PathValue("stream")
	all, err := s.store.Buckets(r.Context(), span, w)
	if err != nil {
		return nil, err
	}
	holes, err := s.store.Spans(r.Context(), span, maxGaps+1)
	if err != nil {
		return nil, err
	}
	alarms, err := s.store.Alarms(r.Context(), span, maxAlarms+1)
	if err != nil {
		return nil, err
	}
	out := series{Device: span.Device, Stream: span.Stream, From: span.From, To: span.To, Width: w.Milliseconds(),
		Buckets: make([]bucket, 0, len(all)), Gaps: make([]gap, 0, len(holes)), MoreGaps: len(holes) > maxGaps,
		Alarms: make([]alarm, 0, len(alarms)), MoreAlarms: len(alarms) > maxAlarms}
	for _, b := range all {
		out.Buckets = append(out.Buckets, bucket{TS: b.TS, Count: b.N, Errors: b.Errors, Min: number(b.Min, b.N > 0),
			Max: number(b.Max, b.N > 0), Mean: number(b.Mean, b.N > 0), Late: integer(b.Late)})
	}
	for _, g := range holes[:min(len(holes), maxGaps)] {
		out.Gaps = append(out.Gaps, gap{Begin: g.Begin, End: g.End, Boot: g.Boot, FromSeq: g.From, ToSeq: g.To,
			Count: g.Count, State: g.State, Why: g.Why})
	}
	for _, a := range alarms[:min(len(alarms), maxAlarms)] {
		out.Alarms = append(out.Alarms, alarm(a))
	}
	return out, nil
}

// An event is an event of an agent. Details is the whole object as the agent sent it.
type event struct {
	TS         int64           `json:"ts"`
	ReceivedAt int64           `json:"received_at"`
	Event      string          `json:"event"`
	Details    json.RawMessage `json:"details"`
}

// events answers with the events of a device, the newest first.
func (s *server) events(r *http.Request) (any, error) {
	span, err := query(r.URL.Query()).times(time.Now())
	if err != nil {
		return nil, err
	}
	span.Device = r.PathValue("device")
	all, more, err := s.store.Events(r.Context(), span, maxEvents)
	out := make([]event, 0, len(all))
	for _, e := range all {
		out = append(out, event{TS: e.TS, ReceivedAt: e.ReceivedAt, Event: e.Name, Details: json.RawMessage(e.JSON)})
	}
	return struct {
		Device string  `json:"device"`
		From   int64   `json:"from"`
		To     int64   `json:"to"`
		Events []event `json:"events"`
		More   bool    `json:"more_events"` // there are others, beyond maxEvents or 1 MiB
	}{span.Device, span.From, span.To, out, more}, err
}
