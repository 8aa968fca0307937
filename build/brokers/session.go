package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
)

// A session is one connection through the window.
type session struct {
	*window
	sent    map[uint16]key // by packet identifier
	offline bool           // the last publication on our status
}

// copy carries data; what is read in it is noted before it travels on.
func (*session) copy(to io.Writer, from io.Reader, note func(head byte, body []byte)) {
	w := wire{note: note}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.read(buf[:n])
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

const (
	packetPublish    = 3
	packetPuback     = 4
	packetDisconnect = 14
)

func (c *session) toServer(head byte, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch head >> 4 {
	case packetDisconnect:
		c.farewell = c.offline
	case packetPublish:
		p, ok := readPublish(head, body)
		if !ok {
			return
		}
		if p.id > 0 {
			var r reading
			json.Unmarshal(p.payload, &r) // other messages have no boot
			c.sent[p.id] = key{p.topic, r.Boot, r.Seq}
		}
		if strings.HasSuffix(p.topic, "/agent/status") {
			c.offline = string(p.payload) == "offline"
		}
	}
}

func (c *session) toClient(head byte, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if head>>4 != packetPuback || len(body) < 2 {
		return
	}
	c.acked[c.sent[binary.BigEndian.Uint16(body)]] = true
	if c.awaited--; c.awaited == 0 {
		close(c.begun)
	}
}

// A publication is a message on its way; id is 0 at QoS 0.
type publication struct {
	topic   string
	id      uint16
	payload []byte
}

// readPublish reads a PUBLISH: MQTT 3.1.1, section 3.3.
func readPublish(head byte, body []byte) (p publication, ok bool) {
	if len(body) < 2 {
		return p, false
	}
	n := 2 + int(binary.BigEndian.Uint16(body))
	if len(body) < n {
		return p, false
	}
	p.topic, p.payload = string(body[2:n]), body[n:]
	if qos := head >> 1 & 3; qos == 0 {
		return p, true
	}
	if len(p.payload) < 2 {
		return p, false
	}
	p.id, p.payload = binary.BigEndian.Uint16(p.payload), p.payload[2:]
	return p, true
}

// A wire notes each whole packet of one direction of a connection, however the
// network cuts it. MQTT 3.1.1, section 2.2: a byte of type and flags, then the
// length in seven bits a byte, of which there are four at most. What has more is
// no MQTT, and nothing after it is read.
type wire struct {
	note   func(head byte, body []byte)
	rest   []byte // of a packet that is not whole yet
	broken bool
}

func (w *wire) read(data []byte) {
	data = append(w.rest, data...)
	for len(data) >= 2 && !w.broken {
		length, n := binary.Uvarint(data[1:min(len(data), 5)])
		w.broken = n == 0 && len(data) >= 5
		whole := 1 + n + int(length)
		if n == 0 || len(data) < whole {
			break
		}
		w.note(data[0], data[1+n:whole])
		data = data[whole:]
	}
	if w.broken {
		data = nil
	}
	w.rest = bytes.Clone(data)
}
