package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
)

// A session is one connection through the proxy.
type session struct {
	*ackProxy
	sent    map[uint16]key // by packet identifier
	offline bool           // the last payload of agent/status
	five    bool           // CONNECT was that of MQTT 5
	aliases map[uint16]string
}

// copy copies data; it parses and records the data before it is forwarded.
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
	packetConnect    = 1
	packetPublish    = 3
	packetPuback     = 4
	packetDisconnect = 14
)

func (c *session) toServer(head byte, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch head >> 4 {
	case packetConnect:
		c.five = bytes.HasPrefix(body, []byte("\x00\x04MQTT\x05"))
	case packetDisconnect:
		c.orderlyEnd = c.offline && (len(body) == 0 || body[0] == 0) // another reason code is no orderlyEnd
	case packetPublish:
		p, ok := readPublish(head, body)
		if ok && c.five {
			ok = c.properties(&p)
		}
		if !ok {
			return
		}
		if p.id > 0 {
			var r reading
			json.Unmarshal(p.payload, &r) // other messages have no boot field
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
	if head>>4 != packetPuback || len(body) < 2 || len(body) > 2 && body[2] >= 0x80 { // with MQTT 5 the code is a failure
		return
	}
	c.acked[c.sent[binary.BigEndian.Uint16(body)]] = true
	if c.awaited--; c.awaited == 0 {
		close(c.begun)
	}
}

// A publication is a message in flight; id is 0 at QoS 0.
type publication struct {
	topic   string
	id      uint16
	payload []byte
}

// readPublish parses a PUBLISH: MQTT 3.1.1, section 3.3.
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

// properties removes the properties of MQTT 5 from the payload (section 3.3.2.3), and finds
// the topic of an alias.
func (c *session) properties(p *publication) (ok bool) {
	length, n := binary.Uvarint(p.payload[:min(len(p.payload), 4)])
	if n <= 0 || length > uint64(len(p.payload)-n) {
		return false
	}
	block := p.payload[n : n+int(length)]
	p.payload = p.payload[n+int(length):]
	for len(block) > 0 {
		value := block[1:]
		size := propertySize(block[0], value)
		if size > len(value) {
			return false
		}
		if block[0] == aliasProperty {
			if alias := binary.BigEndian.Uint16(value); p.topic == "" {
				p.topic = c.aliases[alias]
			} else {
				c.aliases[alias] = p.topic
			}
		}
		block = value[size:]
	}
	return true
}

// Properties that a PUBLISH of an agent may have: MQTT 5, section 2.2.2.2.
const (
	expiryProperty = 0x02
	aliasProperty  = 0x23
	userProperty   = 0x26
)

// propertySize is the size of a property's value, with which b starts; more than len(b) if
// b is incomplete.
func propertySize(id byte, b []byte) int {
	texts := 1
	switch id {
	case 0x01: // payload format
		return 1
	case expiryProperty:
		return 4
	case aliasProperty:
		return 2
	case userProperty:
		texts = 2
	}
	size := 0
	for range texts {
		if size += 2; size > len(b) {
			return size
		}
		size += int(binary.BigEndian.Uint16(b[size-2:]))
	}
	return size
}

// A wire parses each complete packet of one direction of a connection, however the network
// splits it. MQTT 3.1.1, section 2.2: a byte of type and flags, then the length in seven
// bits per byte, with at most four bytes. If there are more, the data is not MQTT, and
// nothing after it is parsed.
type wire struct {
	note   func(head byte, body []byte)
	rest   []byte // start of an incomplete packet
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
