package main

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// A wiretap parses the MQTT between agent and broker.
type wiretap struct {
	delay time.Duration // of all data to the broker: a slow link

	mu     sync.Mutex
	acked  map[key]bool      // readings that the broker has acknowledged
	latest map[string]uint64 // the last seq that was sent, by topic; 1 if there is none
	states []published       // retained messages, in the order of publication
	conns  []time.Time       // times of CONNACK packets

	sentOnConn map[string]int // readings sent on the newest connection, by topic
}

type published struct {
	topic  string
	at     time.Time
	behind map[string]int // readings that were sent before it on the same connection, by topic
	received
}

func newWiretap(delay time.Duration) *wiretap {
	return &wiretap{delay: delay, acked: map[key]bool{}, latest: map[string]uint64{},
		sentOnConn: map[string]int{}}
}

func (w *wiretap) tap() cable.Tap {
	return &tapped{wiretap: w, sent: map[uint16]key{}, aliases: map[uint16]string{}}
}

func (w *wiretap) hasAcked(k key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked[k]
}

func (w *wiretap) snapshot() (states []published, conns []time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(states, w.states...), append(conns, w.conns...)
}

// tapped is one connection.
type tapped struct {
	*wiretap
	up, down []byte            // incomplete packets
	sent     map[uint16]key    // by packet identifier
	five     bool              // CONNECT was that of MQTT 5
	aliases  map[uint16]string // topics, with MQTT 5
}

const (
	packetConnect = 1
	packetConnack = 2
	packetPublish = 3
	packetPuback  = 4
)

func (c *tapped) ToServer(data []byte) {
	time.Sleep(c.delay)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = packets(append(c.up, data...), func(head byte, body []byte) {
		if head>>4 == packetConnect && len(body) > 6 { // otherwise it may be TLS
			c.five = string(body[2:7]) == "MQTT\x05"
		}
		if head>>4 != packetPublish || len(body) < 2 {
			return
		}
		n := int(binary.BigEndian.Uint16(body))
		if len(body) < 2+n {
			return
		}
		topic, id, payload := string(body[2:2+n]), uint16(0), body[2+n:]
		if head&6 != 0 && len(payload) >= 2 {
			id, payload = binary.BigEndian.Uint16(payload), payload[2:]
		}
		if c.five {
			topic, payload = c.withoutProperties(topic, payload)
		}
		var p received
		json.Unmarshal(payload, &p)
		if head&1 != 0 {
			c.states = append(c.states, published{topic, time.Now(), maps.Clone(c.sentOnConn), p})
		} else {
			c.sent[id] = key{topic, p.Boot, p.Seq}
			c.latest[topic] = max(p.Seq, 1)
			c.sentOnConn[topic]++
		}
	})
}

// withoutProperties returns the payload after the properties of a PUBLISH of MQTT 5, and
// the topic of its alias. The agent writes the alias first.
func (c *tapped) withoutProperties(topic string, b []byte) (string, []byte) {
	const aliasProperty = 0x23
	length, n := binary.Uvarint(b)
	properties, payload := b[n:n+int(length)], b[n+int(length):]
	if len(properties) >= 3 && properties[0] == aliasProperty {
		alias := binary.BigEndian.Uint16(properties[1:])
		if topic == "" {
			return c.aliases[alias], payload
		}
		c.aliases[alias] = topic
	}
	return topic, payload
}

func (c *tapped) ToClient(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = packets(append(c.down, data...), func(head byte, body []byte) {
		switch head >> 4 {
		case packetConnack:
			c.conns = append(c.conns, time.Now())
			clear(c.sentOnConn)
		case packetPuback:
			id := binary.BigEndian.Uint16(body)
			if k, ok := c.sent[id]; ok {
				if len(body) < 3 || body[2] < 0x80 { // with MQTT 5 the code may be a refusal
					c.acked[k] = true
				}
				delete(c.sent, id)
			}
		}
	})
}

// packets calls f for each complete packet and returns the rest. MQTT 3.1.1, section 2.2: a
// byte of type and flags, then the length in seven bits per byte.
func packets(data []byte, f func(head byte, body []byte)) (rest []byte) {
	for len(data) >= 2 {
		length, n := binary.Uvarint(data[1:])
		if n <= 0 || uint64(len(data)) < 1+uint64(n)+length {
			break
		}
		body := data[1+n : 1+n+int(length)]
		f(data[0], body)
		data = data[1+n+int(length):]
	}
	return append([]byte(nil), data...)
}
