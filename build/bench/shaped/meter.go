package main

import (
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/link"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// usage is the number of bytes to the broker, including the headers of the packets.
type usage struct {
	readings, states, others int
	packets                  int
	sessions                 []time.Time // when each CONNECT arrived
}

func (u usage) all() int { return u.readings + u.states + u.others }

func (u usage) less(before usage) usage {
	return usage{readings: u.readings - before.readings, states: u.states - before.states,
		others: u.others - before.others, packets: u.packets - before.packets}
}

// A meter parses the data of the cable.
type meter struct {
	mu sync.Mutex
	usage
}

func (m *meter) tap() cable.Tap { return &tapped{meter: m} }

func (m *meter) snapshot() usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usage
}

// tapped is one connection.
type tapped struct {
	*meter
	rest   []byte // an incomplete message
	header int    // bytes of packet headers that are not assigned to a message yet
}

func (c *tapped) ToClient([]byte) {}

// ToServer handles one packet.
func (c *tapped) ToServer(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets++
	c.header += link.Header
	c.rest = append(c.rest, data...)
	for {
		message, ok := whole(c.rest)
		if !ok {
			return
		}
		*c.account(message) += len(message) + c.header
		c.header, c.rest = 0, c.rest[len(message):]
	}
}

// account returns the counter for a message.
func (c *tapped) account(message []byte) *int {
	const connect, publish = 1, 3 // MQTT 3.1.1, section 2.2.1
	switch message[0] >> 4 {
	case connect:
		c.sessions = append(c.sessions, time.Now())
	case publish:
		switch topic := topicOf(message); {
		case strings.HasSuffix(topic, "/state"):
			return &c.states
		case strings.Count(topic, "/") == 1:
			return &c.readings
		}
	}
	return &c.others
}

// whole returns the first complete message in data. MQTT 3.1.1, section 2.2: a byte of type
// and flags, then the length in seven bits per byte.
func whole(data []byte) (message []byte, ok bool) {
	if len(data) < 2 {
		return nil, false
	}
	length, n := binary.Uvarint(data[1:])
	if n <= 0 || uint64(len(data)) < 1+uint64(n)+length {
		return nil, false
	}
	return data[:1+n+int(length)], true
}

func topicOf(publish []byte) string {
	_, n := binary.Uvarint(publish[1:])
	body := publish[1+n:]
	if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body)) {
		return ""
	}
	return string(body[2 : 2+binary.BigEndian.Uint16(body)])
}
