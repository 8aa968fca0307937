package uplink

import (
	"net/url"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Options say which broker to reach and as whom.
type Options struct {
	ClientID  string
	Servers   []*url.URL // in order of preference: mqtt, mqtts, ws or wss
	Username  string     // empty: the client ID, where there is a password
	Password  Secret
	TLS       TLS
	KeepAlive time.Duration
	RetryMost time.Duration // bounds the wait between attempts while the network fails; 0: a minute

	Topics  Topics
	Streams []sensors.Stream

	HomeAssistant HomeAssistant

	Clock    *sensors.Timekeeper // nil: one that asks the kernel
	Boot     string              // of this start of the agent
	Version  string
	Hardware string // the board's own name
}

// Topics are the patterns for readings and states, with {client_id} and {stream}.
type Topics struct {
	Reading string
	State   string
}

// DefaultTopics: two levels are data, three levels are everything else.
var DefaultTopics = Topics{Reading: "{client_id}/{stream}", State: "{client_id}/{stream}/state"}
