package main

import (
	"encoding/binary"
	"encoding/json"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// A wiretap reads the MQTT between agent and broker.
type wiretap struct {
	delay time.Duration // of everything that goes to the broker: a slow link

	mu     sync.Mutex
	acked  map[key]bool // readings that the broker has acknowledged
	states []published  // retained messages, in the order of publication
	conns  []time.Time  // of CONNACKs
}

type published struct {
	topic string
	at    time.Time
	received
}

func newWiretap(delay time.Duration) *wiretap {
	return &wiretap{delay: delay, acked: map[key]bool{}}
}

func (w *wiretap) tap() cable.Tap { return &tapped{wiretap: w, sent: map[uint16]key{}} }

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
	up, down []byte         // what is not a whole packet yet
	sent     map[uint16]key // by packet identifier
}

const (
	packetConnack = 2
	packetPublish = 3
	packetPuback  = 4
)

func (c *tapped) ToServer(data []byte) {
	time.Sleep(c.delay)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = packets(append(c.up, data...), func(head byte, body []byte) {
		if head>>4 != packetPublish || len(body) < 2 {
			return
		}
		n := int(binary.BigEndian.Uint16(body))
		topic, id := string(body[2:2+n]), binary.BigEndian.Uint16(body[2+n:])
		var p received
		json.Unmarshal(body[4+n:], &p)
		if head&1 != 0 {
			c.states = append(c.states, published{topic, time.Now(), p})
		} else {
			c.sent[id] = key{topic, p.Boot, p.Seq}
		}
	})
}

func (c *tapped) ToClient(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = packets(append(c.down, data...), func(head byte, body []byte) {
		switch head >> 4 {
		case packetConnack:
			c.conns = append(c.conns, time.Now())
		case packetPuback:
			id := binary.BigEndian.Uint16(body)
			if k, ok := c.sent[id]; ok {
				c.acked[k] = true
				delete(c.sent, id)
			}
		}
	})
}

// packets calls f for each whole packet and returns the rest. MQTT 3.1.1,
// section 2.2: a byte of type and flags, then the length in seven bits a byte.
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
