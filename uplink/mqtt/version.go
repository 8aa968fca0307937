package mqtt

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// A Version is one of MQTT. The zero value is 3.1.1.
type Version uint8

const (
	V311 Version = iota
	V5
	Auto // 5, and 3.1.1 where the broker refuses that
)

// String returns the version as the configuration has it.
func (v Version) String() string { return [...]string{"3.1.1", "5", "auto"}[v] }

// Facts are what a broker has said in CONNACK: MQTT 5, section 3.2.2.3. Of a connection
// by MQTT 3.1.1, which has none of it, only the first three fields are set.
type Facts struct {
	Version   Version
	KeepAlive time.Duration // between two PINGREQs: ours, or the broker's if that is shorter
	Refuses5  string        // with Auto and 3.1.1: how the server did not accept 5, a day ago at most

	Resumed        bool   // it goes on with our last session: it may send what came for us since then
	ReceiveMaximum int    // messages at QoS 1 in flight; 0: as many as there are packet IDs
	MaxPacket      int    // bytes of a packet that it takes; 0: any
	NoRetain       bool   // it takes no retained messages: they are sent without that flag
	Aliases        int    // topics that may have an alias; 0: none
	ClientID       string // it has assigned another one than ours; empty: it has not
	Reason         string // its own words; empty: none
}

const (
	keepVersion = 24 * time.Hour // how long a server that refused version 5 is not asked again
	keepSilence = time.Hour      // the same for one that did not answer to 5: it may have been busy
)

// A versionMemory knows of one server that it refuses version 5. It lives as long as
// the Dialer, whose goroutine uses it.
type versionMemory struct {
	refused time.Time     // when it accepted 3.1.1 after it had not accepted 5; zero: it never did
	keep    time.Duration // from then on: 5 is not tried
	why     string        // how it did not accept 5
	silent  bool          // it has not answered to 5: the next attempt is by 3.1.1
}

// first returns the version to begin with at the server.
func (m *versionMemory) first(configured Version) Version {
	switch {
	case configured != Auto:
		return configured
	case m.silent, !m.refused.IsZero() && time.Since(m.refused) < m.keep:
		return V311
	}
	return V5
}

// errAnswer311 is the answer of a broker that does not know MQTT 5: a CONNACK without
// properties.
var errAnswer311 = errors.New("the broker answers as MQTT 3.1.1 does: set mqtt.version: 3.1.1 or auto")

// refusesVersion reports whether a connection by MQTT 5 failed in a way that lets one by
// 3.1.1 succeed: the broker says that it does not know the version (0x84, or 1 as
// 3.1.1 has it), its answer is none of MQTT 5, or it closes without one.
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

// isSilent reports whether the server has not answered CONNECT in time. It may not know the
// version and wait for a packet that it does, or it is busy.
func isSilent(err error) bool {
	var early *unansweredError
	return errors.As(err, &early) && early.silent
}

// dialVersion connects to the server with this index by the version that is configured.
// With Auto that is 5; where the server refuses it, 3.1.1 in the same call, and first
// for the next keepVersion. Where it does not answer, 5 and 3.1.1 take turns from call to
// call: each attempt waits for as long as one may.
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

// A referral is the server that a broker has named, in CONNACK or DISCONNECT (Server
// Reference, MQTT 5, section 4.13). Only one that is configured is followed: else
// whoever answers in a broker's place could send the agent, and its password, anywhere.
type referral struct {
	servers []*url.URL
	next    atomic.Int32 // its index and 1; 0: none
}

// note takes a reference: a host, or host:port, or several with spaces between.
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

// noteIn takes the reference in why a connection was refused or lost.
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

// take returns the index of the server that was named last, once; first if there is none.
func (r *referral) take(first int) int {
	if next := r.next.Swap(0); next > 0 {
		return int(next) - 1
	}
	return first
}
