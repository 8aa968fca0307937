// Package status has the state of a node as one value: a [Snapshot], which the status page,
// the metrics and the command `holdfast status` show.
//
// A [Collector] fills it on request, from the queue, the link and the clock, and needs no
// CPU time otherwise. Only the history of the last hour is collected all the time, and only
// if there is a status page.
package status

import (
	"encoding/json"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// A Snapshot is the state of a node at one moment. Its JSON is stable for readers of
// `holdfast status --json`: keys are added, never changed. Times are Unix milliseconds by
// the node's clock, 0 if there is none; ages and durations are in seconds.
type Snapshot struct {
	Time     int64    `json:"ts"`
	Node     Node     `json:"node"`
	Link     Link     `json:"link"`
	Queue    Queue    `json:"queue"`
	Clock    Clock    `json:"clock"`
	Streams  []Stream `json:"streams"`  // in the order of the configuration; outputs and the alarm are among them
	Outputs  []Output `json:"outputs"`  // in the order of the configuration
	Arming   *Arming  `json:"arming"`   // null: the configuration has no arming
	Events   []Event  `json:"events"`   // the last ones, oldest first
	Problems []string `json:"problems"` // what the user should mend, most important first
}

// A Node identifies the agent. Boot and PID tell two starts of the same agent apart.
type Node struct {
	ClientID string `json:"client_id"`
	Title    string `json:"title,omitempty"` // display name; absent: ClientID is shown
	Area     string `json:"area,omitempty"`  // where it is; absent: unknown
	Version  string `json:"version"`
	Hardware string `json:"hardware"`
	Boot     string `json:"boot"` // ID of this start of the agent, as in payloads
	PID      int    `json:"pid"`
	Started  int64  `json:"started"`
}

// A Link is the connection to the broker. Error is kept after the outage, for a user who
// looks later.
type Link struct {
	Connected   bool    `json:"connected"`
	Server      string  `json:"server"` // host:port
	MQTT        string  `json:"mqtt"`   // the version of the connection: 3.1.1 or 5; empty: none was made yet
	Since       int64   `json:"since"`  // of the connection or of the outage
	Error       string  `json:"error"`  // why the last connection or attempt ended
	ErrorAt     int64   `json:"error_at"`
	NextTry     int64   `json:"next_try"`     // of a connection; 0: now, or there is one
	RoundTrip   float64 `json:"round_trip_s"` // of the last message acknowledged
	Held        string  `json:"held"`         // why nothing goes out although it is connected
	NoOrders    string  `json:"no_orders"`    // why no orders come although it is connected
	CertExpires int64   `json:"certificate_expires"`

	// Unheard counts the readings of each stream that had no subscriber, if the broker reports
	// that (MQTT 5); events are under agent/event.
	Unheard map[string]uint64 `json:"unheard,omitempty"`
}

// A Queue is what waits, and counters since the start. Left takes into account what is
// measured meanwhile.
type Queue struct {
	Backlog   int     `json:"backlog"` // readings, events and gaps that are not acknowledged
	Memory    int     `json:"memory"`  // of these, only in memory
	Oldest    float64 `json:"oldest_s"`
	Rate      float64 `json:"drain_rate"`   // acknowledged per second, over the last seconds
	Left      float64 `json:"drain_left_s"` // until the backlog is empty; -1: it does not shrink
	Delivered uint64  `json:"delivered"`
	Skipped   uint64  `json:"skipped"` // readings too late for a plain payload: they were not sent
	Dropped   uint64  `json:"dropped"` // readings that were deleted to make room
	Missing   uint64  `json:"missing"` // readings declared as gaps, the dropped ones among them
	Aside     int     `json:"aside"`   // readings and events that the broker refuses
	Failing   bool    `json:"failing"` // the disk fails, or hangs

	Written      int64  `json:"written"` // bytes, since the start
	WrittenToday int64  `json:"written_today"`
	Commits      uint64 `json:"commits"`
	CommitsToday uint64 `json:"commits_today"`
}

// A Clock tells how far the node's time can be trusted.
type Clock struct {
	Quality string `json:"quality"` // ok, estimated or unsynced
	Source  string `json:"source"`  // the time source that confirms it; empty: none
}

// A Stream is the latest reading of one stream, if there is one. A value and an error never
// occur together.
type Stream struct {
	Name    string   `json:"name"`
	Title   string   `json:"title,omitempty"` // display name; absent: Name is shown
	Area    string   `json:"area,omitempty"`  // where it is; absent: unknown
	Kind    string   `json:"kind"`
	Unit    string   `json:"unit"`
	Class   string   `json:"class"`
	Alarm   bool     `json:"alarm"`  // its readings are sent first
	Sparse  bool     `json:"sparse"` // it reports changes only: the value before holds until the next
	Value   *float64 `json:"value"`  // null: there is none
	State   string   `json:"state"`  // the word of a two-valued stream
	Error   string   `json:"error"`  // why it cannot be read
	At      int64    `json:"at"`     // of the value, or since when it cannot be read; 0: there was no reading yet
	Seq     uint64   `json:"seq"`
	History *History `json:"history,omitempty"` // nil: none is kept, or none was asked for
}

// An Event is something that happened to the agent itself, as agent/event publishes it.
type Event struct {
	At      int64           `json:"ts"`
	Seq     uint64          `json:"seq"` // as in agent/event
	Name    string          `json:"event"`
	Details json.RawMessage `json:"details"`
}

// States of an output. Unknown means that the hardware has not confirmed the last order.
const (
	On      = "on"
	Off     = "off"
	Unknown = "unknown"
)

// An Output is a siren, a relay, a valve or a lock. Its changes are readings of a stream
// with the same name.
type Output struct {
	Name      string `json:"name"`
	Title     string `json:"title,omitempty"` // as of a stream
	Area      string `json:"area,omitempty"`
	Class     string `json:"class"`
	State     string `json:"state"`      // on, off or unknown
	Error     string `json:"error"`      // why it is unknown
	By        string `json:"by"`         // the cause of the last change; empty: the start of the agent
	Since     int64  `json:"since"`      // of the last change; 0: none since the start
	Until     int64  `json:"until"`      // when it returns to its safe level without an order; 0: never
	RestUntil int64  `json:"rest_until"` // it refuses orders until then; 0: it takes them
	Commands  bool   `json:"commands"`   // it takes orders by MQTT
}

// An Arming is the state of the alarm panel.
type Arming struct {
	Title       string   `json:"title,omitempty"` // as of a stream
	Area        string   `json:"area,omitempty"`
	State       string   `json:"state"` // disarmed, arming, armed_home, armed_away, pending or triggered
	By          string   `json:"by"`    // the cause of the last change
	Since       int64    `json:"since"`
	Until       int64    `json:"until"`        // when it changes without an order; 0: it does not
	Open        []string `json:"open"`         // streams that prevent arming
	Bypass      []string `json:"bypass"`       // streams that are ignored until it is disarmed
	LockedUntil int64    `json:"locked_until"` // codes are refused until then; 0: they are not
}

// Sensors returns the streams of sensors, without those of outputs and of the alarm panel.
func (s *Snapshot) Sensors() []Stream {
	var all []Stream
	for _, st := range s.Streams {
		isOutput := slices.ContainsFunc(s.Outputs, func(o Output) bool { return o.Name == st.Name })
		if !isOutput && (s.Arming == nil || st.Name != arming.StreamName) {
			all = append(all, st)
		}
	}
	return all
}
