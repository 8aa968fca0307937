package uplink

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
)

// A hostileCase is what a fake broker does, and what the link must do then.
type hostileCase struct {
	name   string
	script func(*mqtttest.Conn)
	want   []string // in the log

	not             string // in the log
	connects        int    // at most, in runTime; only where connections end
	keepsConnection bool   // the one connection stays
	drains          bool   // the backlog arrives
	waits           bool   // by its rule the link waits for up to a minute before the next attempt

	version mqtt.Version
	form311 bool // what it sends has the form of 3.1.1: hostileCases5 has the like of it for 5
	kernel  bool // needs a kernel's socket, with its buffers
	exact   bool // allows a second for an answer: shown in memory alone, where nothing is late
	scheme  string
	backlog int
	window  int
}

// Attempts that fail at once follow each other at random within 1, 2, 4, 8, 16,
// 32 s: eight in 40 s are usual, and more than thirty happen once in many
// years of testing.
const (
	maxFast = 30
	maxSlow = 6 // what takes 10 s at least
)

var (
	noMQTT  = []string{"the answer to CONNECT is no MQTT"}
	noReply = []string{"the broker has not answered CONNECT in 15s"}
	noAcks  = []string{"the broker has acknowledged nothing for 28s"}
	closes  = []string{"the broker closed the connection"}
	heldLog = []string{"the backlog is held", "mqtt.prove_publish: false"}
)

func sends(packet ...byte) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) {
		if s.AcceptConnect() {
			s.Send(packet...)
			s.Linger()
		}
	}
}

func replies(packet ...byte) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) { s.Next(); s.Send(packet...); s.Linger() }
}

// floods sends n packets into the first connection, and serves.
func floods(n int, flags byte, topic string, payload func(i int) string) func(*mqtttest.Conn) {
	return func(s *mqtttest.Conn) {
		if !s.AcceptConnect() {
			return
		}
		if s.IsFirst() {
			go func() {
				for i := 0; i < n && s.Publish(flags, topic, []byte(payload(i))); i++ {
				}
			}()
		}
		s.Serve(nil)
	}
}

var hostileCases = []hostileCase{
	{name: "says nothing", script: (*mqtttest.Conn).Linger, want: noReply, connects: maxSlow},
	{name: "half a CONNACK", form311: true, script: replies(0x20, 2), want: noReply, connects: maxSlow},
	{name: "CONNACK byte by byte", form311: true, script: func(s *mqtttest.Conn) {
		s.Next()
		s.Trickle(2*time.Second, 0x20, 2, 0, 0)
		s.Serve(nil)
	}, keepsConnection: true, drains: true, want: []string{"uplink up"}},
	{name: "CONNACK too slowly", form311: true, script: func(s *mqtttest.Conn) {
		s.Next()
		s.Trickle(6*time.Second, 0x20, 2, 0, 0)
		s.Serve(nil)
	}, want: noReply, connects: maxSlow},
	{name: "closes at CONNECT", script: func(s *mqtttest.Conn) { s.Next() }, want: closes, connects: maxFast},
	{name: "closes before CONNECT", script: func(s *mqtttest.Conn) {}, want: []string{"connection"}, connects: maxFast},
	{name: "closes after CONNACK", script: func(s *mqtttest.Conn) { s.AcceptConnect() },
		want: []string{"before it acknowledged anything: its access list may deny porch/#"}, connects: maxFast},
	{name: "garbage for CONNACK", script: replies(0xf7, 3, 9, 9, 9, 0xff), want: noMQTT, connects: maxFast},
	{name: "a web server", script: func(s *mqtttest.Conn) {
		s.Next()
		io.WriteString(s, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	}, want: noMQTT, connects: maxFast},
	{name: "a TLS port", script: replies(0x15, 3, 1, 0, 2, 2, 0x46), want: noMQTT, connects: maxFast},
	{name: "CONNACK of 3 bytes", form311: true, script: replies(0x20, 3, 0, 0, 0), want: []string{"a CONNACK of 3 bytes"},
		connects: maxFast},
	{name: "two CONNACKs", script: sends(0x20, 2, 0, 0), want: []string{"a second CONNACK"}, connects: maxFast},
	{name: "CONNACK 3", form311: true, script: replies(0x20, 2, 0, 3),
		want:     []string{"level=WARN", "it says it is not available"},
		connects: 10},
	{name: "CONNACK 5", form311: true, script: replies(0x20, 2, 0, 5), want: []string{"level=ERROR", "mqtt.password_file"},
		connects: 6},
	{name: "CONNACK 6", form311: true, script: replies(0x20, 2, 0, 6),
		want: []string{"level=ERROR", "code 6"}, connects: 6},
	{name: "CONNACK 0x80", form311: true, script: replies(0x20, 2, 0, 0x80),
		want: []string{"level=ERROR", "code 128"}, connects: 6},
	{name: "CONNACK 255", form311: true, script: replies(0x20, 2, 0, 255),
		want: []string{"level=ERROR", "code 255"}, connects: 6},

	{name: "a message of 256 MB", script: sends(0x30, 0xff, 0xff, 0xff, 0x7f),
		want: []string{"a packet of 268435455 bytes"}, connects: maxFast},
	{name: "a length without an end", script: sends(0x30, 0xff, 0xff, 0xff, 0xff, 0xff),
		want: []string{"a packet whose length has no end"}, connects: maxFast},
	{name: "a message byte by byte", script: func(s *mqtttest.Conn) {
		if s.AcceptConnect() {
			go s.Linger()
			s.Trickle(time.Second/2, append([]byte{0x30, 0x80, 0x02, 0, 100}, make([]byte, 256)...)...)
		}
	}, want: []string{"uplink down"}, connects: maxSlow},
	{name: "a topic longer than its message", script: sends(0x30, 4, 0xff, 0xff, 'a', 'b'),
		want: []string{"a topic of 65535 bytes in a PUBLISH of 4"}, connects: maxFast},
	{name: "a message without a topic", script: sends(0x30, 0), want: []string{"a PUBLISH of 0 bytes"},
		connects: maxFast},
	{name: "a packet of type 0", script: sends(0x00, 0), want: []string{"not for us: type 0"}, connects: maxFast},
	{name: "a packet of type 15", script: sends(0xf0, 0), want: []string{"not for us: type 15"}, connects: maxFast},
	{name: "CONNECT", script: sends(0x10, 2, 0, 0), want: []string{"not for us: CONNECT"}, connects: maxFast},
	{name: "garbage after CONNACK", script: sends(0x51, 0x8a, 0x77, 0x02, 0x11), want: []string{"not for us: PUBREC"},
		connects: maxFast},
	{name: "echoes", script: func(s *mqtttest.Conn) { io.Copy(s, s.Input) }, want: noMQTT, connects: maxFast},
	{name: "echoes after CONNACK", script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		io.Copy(s, s.Input)
	}, want: []string{"not for us: SUBSCRIBE"}, connects: maxFast},
	{name: "resets in the middle of a packet", kernel: true, script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Send(0x30, 100, 0, 10, 'a')
		s.Conn.(*net.TCPConn).SetLinger(0)
	}, want: []string{"connection reset by peer"}, connects: maxFast},
	{name: "100,000 DISCONNECTs", form311: true, script: sends(bytes.Repeat([]byte{0xe0, 0}, 100_000)...),
		want: []string{"not for us: DISCONNECT"}, connects: maxFast},
	{name: "100,000 PINGRESPs", script: func(s *mqtttest.Conn) {
		if s.AcceptConnect() && s.IsFirst() {
			go s.Send(bytes.Repeat([]byte{0xd0, 0}, 100_000)...)
		}
		s.Serve(nil)
	}, keepsConnection: true, drains: true, connects: maxSlow},

	{name: "acknowledges what was never sent", not: "held", script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.AcksNothing = true
		go func() {
			for id := uint16(20_000); id < 25_000 && s.Send(0x40, 2, byte(id>>8), byte(id)); id++ {
			}
		}()
		s.Serve(nil)
	}, want: []string{"uplink down"}, connects: maxSlow},
	{name: "acknowledges nothing, and answers pings", not: "held", script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.AcksNothing = true
		s.Serve(nil)
	}, want: noAcks, connects: maxSlow},
	{name: "acknowledges all but one", script: func(s *mqtttest.Conn) {
		var n atomic.Int32
		s.AcceptConnect()
		s.Serve(func(p mqtttest.Packet) bool {
			if p.Topic != "porch/room" || n.Add(1) != 50 {
				return false
			}
			s.NoteStall()
			return true
		})
	}, want: noAcks, connects: maxSlow},
	{name: "falls silent", not: "held", script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Linger()
	}, want: []string{"uplink down"}, connects: maxSlow},
	{name: "reads nothing", not: "held", script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.BlockUntilClosed()
	}, want: []string{"uplink down"}, connects: maxSlow},
	{name: "reads nothing any more", kernel: true, script: func(s *mqtttest.Conn) {
		s.Conn.(*net.TCPConn).SetReadBuffer(4096)
		s.AcceptConnect()
		for range 1000 {
			p, _ := s.Next()
			s.Answer(p)
		}
		s.NoteStall()
		s.BlockUntilClosed()
	}, want: []string{"uplink down"}, connects: maxSlow, backlog: 10_000, window: 60_000},
	{name: "other answers to publications", form311: true, script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.AcksNothing = true
		s.Serve(func(p mqtttest.Packet) bool {
			return p.Kind == mqtttest.PublishPacket && s.Send(0x90, 3, byte(p.ID>>8), byte(p.ID), 0)
		})
	}, want: []string{"a SUBACK that answers nothing of ours"}, connects: maxFast},
	{name: "PUBCOMP for publications", script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.AcksNothing = true
		s.Serve(func(p mqtttest.Packet) bool {
			return p.Kind == mqtttest.PublishPacket && s.Send(0x70, 2, byte(p.ID>>8), byte(p.ID))
		})
	}, want: []string{"not for us: PUBCOMP"}, connects: maxFast},

	{name: "refuses SUBSCRIBE", form311: true, script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Serve(func(p mqtttest.Packet) bool {
			if p.Kind == mqtttest.SubscribePacket {
				return s.Send(0x90, 3, byte(p.ID>>8), byte(p.ID), 0x80)
			}
			// Who may not subscribe does not hear the canary.
			return p.Topic == "porch/agent/canary" && p.Kind == mqtttest.PublishPacket &&
				s.Send(0x40, 2, byte(p.ID>>8), byte(p.ID))
		})
	}, keepsConnection: true, want: append(heldLog, "the broker refuses the subscription")},
	{name: "denies everything silently", form311: true, script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Serve(func(p mqtttest.Packet) bool {
			return p.Topic == "porch/agent/canary" && p.Kind == mqtttest.PublishPacket &&
				s.Send(0x40, 2, byte(p.ID>>8), byte(p.ID))
		})
	}, keepsConnection: true, want: append(heldLog, "nothing heard of it in 15s")},
	{name: "SUBACK with two codes", form311: true, script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Serve(func(p mqtttest.Packet) bool {
			return p.Kind == mqtttest.SubscribePacket && s.Send(0x90, 4, byte(p.ID>>8), byte(p.ID), 1, 1)
		})
	}, want: []string{"a SUBACK of 4 bytes"}, connects: maxFast},
	{name: "SUBACK of another number", form311: true, script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Serve(func(p mqtttest.Packet) bool {
			return p.Kind == mqtttest.SubscribePacket && s.Send(0x90, 3, byte(p.ID>>8)^0x40, byte(p.ID), 1)
		})
	}, want: []string{"a SUBACK that answers nothing of ours"}, connects: maxFast},
	{name: "PUBACK for SUBSCRIBE", script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		s.Serve(func(p mqtttest.Packet) bool {
			return p.Kind == mqtttest.SubscribePacket && s.Send(0x40, 2, byte(p.ID>>8), byte(p.ID))
		})
	}, want: []string{"a PUBACK that answers nothing of ours"}, connects: maxFast},
	{name: "a take-over every second", script: func(s *mqtttest.Conn) {
		s.AcceptConnect()
		time.AfterFunc(time.Second, func() { s.Conn.Close() })
		s.Serve(nil)
	}, want: append(closes, "uplink up"), connects: maxFast, drains: true},

	{name: "2,000 messages on another topic", script: floods(2_000, 0, "somewhere/else",
		func(int) string { return strings.Repeat("x", 1000) }), keepsConnection: true, drains: true, connects: maxSlow},
	{name: "2,000 messages at QoS 1", script: floods(2_000, 2, "porch/agent/canary",
		func(int) string { return "tweet" }), keepsConnection: true, drains: true, connects: maxSlow},
	{name: "a message at QoS 2", script: sends(0x34, 5, 0, 1, 'a', 0, 9), want: []string{"a message at QoS 2"},
		connects: maxFast},
	// With MQTT 5 it is ended in a second, since it ignores our Receive Maximum.
	{name: "messages at QoS 1 and no ear for the answers", kernel: true, script: func(s *mqtttest.Conn) {
		s.Conn.(*net.TCPConn).SetReadBuffer(4096)
		s.AcceptConnect()
		for s.Publish(2, "porch/agent/canary", []byte("tweet")) {
		}
	}, want: []string{"uplink down"}, connects: maxFast},
	{name: "2,000 births of others", script: floods(2_000, 1, "porch/agent/info", func(i int) string {
		return fmt.Sprintf(`{"boot":"%d-11111111","streams":{"a%d":{},"b":{}}}`, i, i)
	}), keepsConnection: true, drains: true, connects: maxSlow},
	{name: "2,000 live births of others", script: floods(2_000, 0, "porch/agent/info", func(i int) string {
		return fmt.Sprintf(`{"boot":"%d-11111111"}`, i)
	}), keepsConnection: true, drains: true, connects: maxSlow, not: "another client uses"},
	{name: "online and offline in turn", script: floods(4_000, 0, "porch/agent/status", func(i int) string {
		return []string{"online", "offline"}[i%2]
	}), keepsConnection: true, drains: true, connects: maxSlow, want: []string{"a late will is corrected"}},

	{name: "a TLS handshake without an end", scheme: "mqtts", script: func(s *mqtttest.Conn) {
		s.Trickle(time.Second, append([]byte{22, 3, 3, 0x40, 0}, make([]byte, 100)...)...)
	}, want: []string{"no mqtts connection in 15s"}, connects: maxSlow},
	{name: "a TLS port that says nothing", scheme: "mqtts", script: (*mqtttest.Conn).Linger,
		want: []string{"no mqtts connection in 15s"}, connects: maxSlow},
	{name: "a WebSocket without an answer", scheme: "ws", script: (*mqtttest.Conn).Linger,
		want: []string{"no ws connection in 15s"}, connects: maxSlow},
	{name: "a WebSocket with an answer without an end", kernel: true, scheme: "ws", script: func(s *mqtttest.Conn) {
		io.WriteString(s, "HTTP/1.1 101 Switching Protocols\r\n")
		line := []byte("X: " + strings.Repeat("x", 1000) + "\r\n")
		for range 200_000 {
			if !s.Send(line...) {
				return
			}
		}
		s.Linger()
	}, want: []string{"the server's answer is longer than 262144 bytes"}, connects: maxFast},
}
