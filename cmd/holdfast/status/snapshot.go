// Package status is what a node knows of itself: one [Snapshot], which the status
// page, the metrics and the command `holdfast status` show.
//
// A [Collector] fills it from the queue, the link and the clock when somebody asks,
// and costs nothing until then. Only the history of the last hour has to be kept
// while nobody asks, and is kept only where there is a status page.
package status

import (
	"encoding/json"
	"slices"

	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// A Snapshot is a node at one moment. Its JSON is a promise to those who read
// `holdfast status --json`: keys are added, never changed. Times are Unix
// milliseconds by the node's clock, 0 where there is none; ages and durations are
// seconds.
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
	Problems []string `json:"problems"` // what a person should mend, most important first
}

// A Node says which agent this is. Only Boot and PID tell two starts apart.
type Node struct {
	ClientID string `json:"client_id"`
	Title    string `json:"title,omitempty"` // what people call it; absent: they call it by ClientID
	Area     string `json:"area,omitempty"`  // where it is; absent: not said
	Version  string `json:"version"`
	Hardware string `json:"hardware"`
	Boot     string `json:"boot"` // of this start of the agent, as in payloads
	PID      int    `json:"pid"`
	Started  int64  `json:"started"`
}

// A Link is the way to the broker. Error outlives the outage that it is about: a
// person who looks later wants to know why it was.
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

	// Unheard counts the readings of each stream that nobody has subscribed to, where the
	// broker tells (MQTT 5); events are under agent/event.
	Unheard map[string]uint64 `json:"unheard,omitempty"`
}

// A Queue is what waits, and what became of the rest since the start. Left takes into
// account what is measured meanwhile.
type Queue struct {
	Backlog   int     `json:"backlog"` // readings, events and gaps that are not acknowledged
	Memory    int     `json:"memory"`  // of these, in memory alone
	Oldest    float64 `json:"oldest_s"`
	Rate      float64 `json:"drain_rate"`   // acknowledged per second, over the last seconds
	Left      float64 `json:"drain_left_s"` // until the backlog is empty; -1: it does not shrink
	Delivered uint64  `json:"delivered"`
	Skipped   uint64  `json:"skipped"` // readings too late for a plain payload: they were not sent
	Dropped   uint64  `json:"dropped"` // readings that had to make room
	Missing   uint64  `json:"missing"` // readings declared as gaps, the dropped ones among them
	Aside     int     `json:"aside"`   // what the broker refuses
	Failing   bool    `json:"failing"` // the disk fails, or hangs

	Written      int64  `json:"written"` // bytes, since the start
	WrittenToday int64  `json:"written_today"`
	Commits      uint64 `json:"commits"`
	CommitsToday uint64 `json:"commits_today"`
}

// A Clock is how far the node's time can be trusted.
type Clock struct {
	Quality string `json:"quality"` // ok, estimated or unsynced
	Source  string `json:"source"`  // what vouches for it; empty: nothing
}

// A Stream is the latest reading of one stream, or the fact that there is none. A value
// never stands beside an error: what could not be read has no value.
type Stream struct {
	Name    string   `json:"name"`
	Title   string   `json:"title,omitempty"` // what people call it; absent: they call it by Name
	Area    string   `json:"area,omitempty"`  // where it is; absent: not said
	Kind    string   `json:"kind"`
	Unit    string   `json:"unit"`
	Class   string   `json:"class"`
	Alarm   bool     `json:"alarm"`  // its readings go first
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

// Words of an output's state. Unknown is what the hardware did not confirm.
const (
	On      = "on"
	Off     = "off"
	Unknown = "unknown"
)

// An Output is a siren, a relay, a valve or a lock. Its changes are a stream of the same
// name.
type Output struct {
	Name      string `json:"name"`
	Title     string `json:"title,omitempty"` // as of a stream
	Area      string `json:"area,omitempty"`
	Class     string `json:"class"`
	State     string `json:"state"`      // on, off or unknown
	Error     string `json:"error"`      // why it is unknown
	By        string `json:"by"`         // the cause of the last change; empty: the start of the agent
	Since     int64  `json:"since"`      // of the last change; 0: none since the start
	Until     int64  `json:"until"`      // when it goes back to its safe level by itself; 0: it stays
	RestUntil int64  `json:"rest_until"` // it refuses orders until then; 0: it takes them
	Commands  bool   `json:"commands"`   // it takes orders by MQTT
}

// An Arming is the alarm panel.
type Arming struct {
	Title       string   `json:"title,omitempty"` // as of a stream
	Area        string   `json:"area,omitempty"`
	State       string   `json:"state"` // disarmed, arming, armed_home, armed_away, pending or triggered
	By          string   `json:"by"`    // the cause of the last change
	Since       int64    `json:"since"`
	Until       int64    `json:"until"`        // when it changes by itself; 0: it stays
	Open        []string `json:"open"`         // streams that keep it from being armed
	Bypass      []string `json:"bypass"`       // streams that are left out until it is disarmed
	LockedUntil int64    `json:"locked_until"` // codes are refused until then; 0: they are not
}

// Sensors are the streams that sensors make: not those of outputs and of the alarm.
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
