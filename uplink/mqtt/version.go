package mqtt

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// A Version is a version of MQTT. The zero value is 3.1.1.
type Version uint8

const (
	V311 Version = iota
	V5
	Auto // 5, or 3.1.1 if the broker refuses 5
)

// String returns the version as it is written in the configuration.
func (v Version) String() string { return [...]string{"3.1.1", "5", "auto"}[v] }

// Facts is what a broker has announced in CONNACK: MQTT 5, section 3.2.2.3. With MQTT 3.1.1
// only the first three fields are set.
type Facts struct {
	Version   Version
	KeepAlive time.Duration // between two PINGREQs: ours, or the broker's if that is shorter
	Refuses5  string        // with Auto and 3.1.1: how the server refused 5, at most a day ago

	Resumed        bool   // the broker has resumed our last session, and may send messages from since then
	ReceiveMaximum int    // messages at QoS 1 in flight; 0: as many as there are packet IDs
	MaxPacket      int    // maximum bytes of a packet; 0: no limit
	NoRetain       bool   // no retained messages: they are sent without that flag
	Aliases        int    // topics that may have an alias; 0: none
	ClientID       string // the client ID that the broker has assigned; empty: ours
	Reason         string // the Reason String; empty: none
}

const (
	keepVersion = 24 * time.Hour // how long version 5 is not tried after the server refused it
	keepSilence = time.Hour      // the same after the server did not answer: it may have been busy
)

// A versionMemory remembers that a server refuses version 5. It lives as long as the Dialer,
// whose goroutine uses it.
type versionMemory struct {
	refused time.Time     // when the server accepted 3.1.1 after it had refused 5; zero: never
	keep    time.Duration // how long after refused 5 is not tried
	why     string        // how the server refused 5
	silent  bool          // the server has not answered to 5: 3.1.1 is tried next
}

// first returns the version to try first.
func (m *versionMemory) first(configured Version) Version {
	switch {
	case configured != Auto:
		return configured
	case m.silent, !m.refused.IsZero() && time.Since(m.refused) < m.keep:
		return V311
	}
	return V5
}

// errAnswer311 means that the broker does not know MQTT 5: its CONNACK has no properties.
var errAnswer311 = errors.New("the broker answers as MQTT 3.1.1 does: set mqtt.version: 3.1.1 or auto")

// refusesVersion reports whether a connection with MQTT 5 failed so that one with 3.1.1 may
// succeed: the broker says that it does not support the version (0x84, or 1 as in 3.1.1),
// its answer is not one of MQTT 5, or it closes the connection without an answer.
func refusesVersion(err error) bool {
	var refused *RefusedError
	var wrong *ProtocolError
	var early *unansweredError
	switch {
	case errors.As(err, &refused):
		return refused.Code == 0x84 || refused.Code == 1
	case errors.As(err, &early):
		return !early.silent
	}
	return errors.Is(err, errAnswer311) || errors.As(err, &wrong)
}

// isSilent reports whether the server has not answered CONNECT in time. It may ignore a
// CONNECT of an unknown version, or be busy.
func isSilent(err error) bool {
	var early *unansweredError
	return errors.As(err, &early) && early.silent
}

// dialVersion connects to the server with this index, with the configured version. With Auto
// it tries 5. If the server refuses that, it tries 3.1.1 in the same call, and tries it first
// for the next keepVersion. If the server does not answer, the next call tries 3.1.1: there
// is no time for both in one call.
func (d *Dialer) dialVersion(ctx context.Context, i int, will Message) (*Conn, error) {
	broker, server, memory := d.broker, d.broker.Servers[i], &d.versions[i]
	broker.Protocol, broker.resume = memory.first(d.broker.Protocol), d.resumes
	conn, err := dialServer(ctx, broker, server, &d.paths[i], will)
	if d.broker.Protocol != Auto {
		return conn, err
	}
	switch {
	case err == nil || ctx.Err() != nil:
	case broker.Protocol == V311:
		memory.silent = false
	case isSilent(err):
		memory.silent, memory.why = true, err.Error()
	case refusesVersion(err):
		why := err.Error()
		broker.Protocol = V311
		if conn, err = dialServer(ctx, broker, server, &d.paths[i], will); err == nil {
			*memory = versionMemory{refused: time.Now(), keep: keepVersion, why: why}
		}
	}
	if err == nil && broker.Protocol == V311 {
		if memory.silent {
			*memory = versionMemory{refused: time.Now(), keep: keepSilence, why: memory.why}
		}
		conn.facts.Refuses5 = memory.why
	}
	return conn, err
}

// A referral is the server to which a broker has redirected us, in CONNACK or DISCONNECT
// (Server Reference, MQTT 5, section 4.13). Only configured servers are accepted: otherwise
// a forged answer could send the agent with its password to any host.
type referral struct {
	servers []*url.URL
	next    atomic.Int32 // 1 + its index in servers; 0: none
}

// note records a Server Reference: host or host:port, or several of them, separated by
// spaces.
func (r *referral) note(reference string) {
	for name := range strings.FieldsSeq(reference) {
		for i, server := range r.servers {
			if strings.EqualFold(name, server.Host) || strings.EqualFold(name, server.Hostname()) {
				r.next.Store(int32(i) + 1)
				return
			}
		}
	}
}

// noteIn records the reference in the error with which a connection was refused or lost.
func (r *referral) noteIn(why error) {
	var refused *RefusedError
	var ended *DisconnectError
	switch {
	case errors.As(why, &refused):
		r.note(refused.Reference)
	case errors.As(why, &ended):
		r.note(ended.Reference)
	}
}

// take returns the index of the last recorded server and forgets it, or first if there is
// none.
func (r *referral) take(first int) int {
	if next := r.next.Swap(0); next > 0 {
		return int(next) - 1
	}
	return first
}
