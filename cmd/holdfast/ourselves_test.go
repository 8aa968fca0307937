package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A filterProxy is a TCP proxy that closes the connection for some packets of a client, like
// a broker without a way to refuse them.
type filterProxy struct {
	listener net.Listener
	target   string
	closes   func(kind byte, topic string, size int) bool

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed int
	all    sync.WaitGroup
}

func newFilterProxy(t *testing.T, target string, closes func(kind byte, topic string, size int) bool) *filterProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &filterProxy{listener: l, target: target, closes: closes, conns: map[net.Conn]bool{}}
	d.all.Go(d.accept)
	t.Cleanup(func() {
		l.Close()
		d.mu.Lock()
		for c := range d.conns {
			c.Close()
		}
		d.mu.Unlock()
		d.all.Wait()
	})
	return d
}

func (d *filterProxy) accept() {
	for {
		near, err := d.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", d.target)
		if err != nil {
			near.Close()
			continue
		}
		d.mu.Lock()
		d.conns[near], d.conns[far] = true, true
		d.mu.Unlock()
		d.all.Go(func() { io.Copy(near, far); d.drop(near, far) })
		d.all.Go(func() { d.forward(near, far); d.drop(near, far) })
	}
}

func (d *filterProxy) drop(conns ...net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(d.conns, c)
	}
}

// cut closes all connections, as when the broker is replaced.
func (d *filterProxy) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.Close()
	}
}

// forward forwards packets to the broker until one is not allowed.
func (d *filterProxy) forward(near, far net.Conn) {
	for in := bufio.NewReader(near); ; {
		head, err := in.ReadByte()
		if err != nil {
			return
		}
		length, err := binary.ReadUvarint(in)
		if err != nil {
			return
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		if kind := head >> 4; d.closes(kind, topicIn(kind, body), len(body)) {
			d.mu.Lock()
			d.closed++
			d.mu.Unlock()
			return
		}
		if _, err := far.Write(append(binary.AppendUvarint([]byte{head}, length), body...)); err != nil {
			return
		}
	}
}

const (
	connects   = 1
	publishes  = 3
	subscribes = 8
)

// topicIn is the topic of a PUBLISH, or the first filter of a SUBSCRIBE; for a CONNECT it
// is the name of the protocol and its level: MQTT 5, section 3.1.2.
func topicIn(kind byte, body []byte) string {
	switch {
	case kind == connects && len(body) > 6:
		return string(body[2:7])
	case kind == subscribes && len(body) > 2:
		body = body[2:]
	case kind != publishes:
		return ""
	}
	if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body)) {
		return ""
	}
	return string(body[2 : 2+binary.BigEndian.Uint16(body)])
}

func twentySensors() string {
	text := "\n  load: {kind: simulated, counter: {}, every: 100ms}\n"
	for i := range 20 {
		text += fmt.Sprintf("  sensor_%d: {kind: simulated, wave: {quantity: humidity, unit: \"%%\", mean: 45, swing: "+
			"10, period: 1h}, every: 10s}\n", i)
	}
	return text
}

// TestRejectedAgentMessagesDelayNothing: a broker, or a proxy in front of it, closes the
// connection for some of the agent's own messages. Readings arrive within seconds, and the
// log names the rejected messages.
func TestRejectedAgentMessagesDelayNothing(t *testing.T) {
	takesLong(t)
	t.Parallel()
	for name, c := range map[string]struct {
		broker string
		closes func(kind byte, topic string, size int) bool
		named  string
	}{
		"max_packet_size 1000": {broker: "max_packet_size 1000\n", named: "store/agent/info"},
		"homeassistant": {closes: func(_ byte, topic string, _ int) bool {
			return strings.HasPrefix(topic, "homeassistant/")
		},
			named: "homeassistant/device/store/config"},
		"canary": {closes: func(kind byte, topic string, _ int) bool {
			return kind == publishes && topic == "store/agent/canary"
		},
			named: "store/agent/canary"},
		"info": {closes: func(kind byte, topic string, _ int) bool {
			return kind == publishes && topic == "store/agent/info"
		},
			named: "store/agent/info"},
		"health": {closes: func(_ byte, topic string, _ int) bool {
			return topic == "store/agent/health"
		}, named: "store/agent/health"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if by5 && name == "canary" {
				return // there is none
			}
			broker := startMosquitto(t, c.broker)
			sub := subscribe(t, broker.addr, "store/#")
			addr := broker.addr
			if c.closes != nil {
				addr = newFilterProxy(t, addr, c.closes).listener.Addr().String()
			}
			a := newAgent(t,
				fmt.Sprintf("client_id: store\nmqtt: {server: \"mqtt://%s\"}\nqueue: {path: %%DIR%%/queue.db}\n"+
					"home_assistant: {discovery: true}\nsensors:\n%s", addr, twentySensors()))
			a.start()
			eventually(t, time.Minute, "a hundred readings", func() bool { return sub.count("store/load") >= 100 })
			eventually(t, time.Minute, "the log names "+c.named, func() bool {
				return strings.Contains(a.log.String(), "topic="+c.named+" ")
			})
			eventually(t, time.Minute, "readings are live", func() bool {
				last := sub.last("store/load")
				return last.at.Sub(time.UnixMilli(last.TS)) < time.Second && time.Since(last.at) < time.Second
			})
			a.stop()
			log := a.log.String()
			if n := strings.Count(log, "\n"); n > 60 {
				t.Errorf("%d lines in the log:\n%s", n, log)
			}
			w := &wired{sub: sub, tap: newWiretap(0)}
			w.checkComplete(t, "load")
		})
	}
}
