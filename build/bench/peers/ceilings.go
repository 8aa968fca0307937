package main

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/bench/peers/wire"
)

// inMemory is the backlog of a peer that stores nothing on disk.
type inMemory struct {
	mu      sync.Mutex
	waiting [][]byte
	arrived chan struct{}
}

func newInMemory() *inMemory { return &inMemory{arrived: make(chan struct{}, 1)} }

func (m *inMemory) put(_ int, payload []byte) error {
	m.mu.Lock()
	m.waiting = append(m.waiting, payload)
	m.mu.Unlock()
	select {
	case m.arrived <- struct{}{}:
	default:
	}
	return nil
}

// any reports whether the backlog is not empty.
func (m *inMemory) any() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting) > 0
}

// next waits for the next payload; nil when ctx is done.
func (m *inMemory) next(ctx context.Context) []byte {
	for {
		m.mu.Lock()
		if len(m.waiting) > 0 {
			p := m.waiting[0]
			m.waiting = m.waiting[1:]
			m.mu.Unlock()
			return p
		}
		m.mu.Unlock()
		select {
		case <-m.arrived:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *inMemory) close() error { return nil }

// A source provides the payloads of a minimal client. done is called for each
// acknowledgement.
type source interface {
	any() bool
	next(ctx context.Context) []byte // waits; nil when ctx is done
	done()
}

func (m *inMemory) done() {}

func openMinimal(ctx context.Context, j job) (peer, error) { return startMinimal(ctx, j, j.Window-1) }

func openHalves(ctx context.Context, j job) (peer, error) { return startMinimal(ctx, j, j.Window/2) }

func startMinimal(ctx context.Context, j job, enough int) (peer, error) {
	m := newInMemory()
	go minimal(ctx, j, m, enough)
	return m, nil
}

// minimal is a client with one goroutine, which fills its window with one write and then
// reads until no more than enough are in flight and no more data has arrived.
func minimal(ctx context.Context, j job, from source, enough int) {
	c := dialUntil(ctx, j)
	if c == nil {
		return
	}
	defer c.Close()
	var id uint16
	var buf []byte
	for flying := 0; ; {
		for flying < j.Window && (flying == 0 || from.any()) {
			p := from.next(ctx)
			if p == nil {
				return
			}
			id = max(id+1, 1)
			buf = c.Send(buf, topic, id, p)
			flying++
		}
		if c.Out.Flush() != nil {
			return
		}
		for flying > 0 && (flying > enough || c.Waiting() || !from.any()) {
			kind, _, err := c.Read()
			if err != nil {
				return
			}
			if kind == wire.Puback {
				flying--
				from.done()
			}
		}
	}
}

// dialUntil connects as soon as the broker is reachable.
func dialUntil(ctx context.Context, j job) *wire.Conn {
	for ctx.Err() == nil {
		if c, err := wire.Dial(j.Broker, "bench-"+j.Peer, true); err == nil {
			return c
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// connected is a client of paho that reconnects every second.
func connected(j job, store mqtt.Store) mqtt.Client {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + j.Broker).SetClientID("bench-" + j.Peer).
		SetCleanSession(store == nil).SetAutoReconnect(true).SetConnectRetry(true).
		SetConnectRetryInterval(time.Second).SetMaxReconnectInterval(time.Second).SetOrderMatters(false)
	if store != nil {
		o.SetStore(store)
	}
	c := mqtt.NewClient(o)
	c.Connect()
	return c
}

// openPaho publishes with the library, a window at a time.
func openPaho(ctx context.Context, j job) (peer, error) {
	m := newInMemory()
	c := connected(j, nil)
	go drain(ctx, c, j.Window, func() []byte { return m.next(ctx) }, func() {})
	return m, nil
}

// drain keeps a window of messages in flight: it gets them from next, which returns nil at
// the end, and calls done for each acknowledgement, in order. What was in flight when the
// connection was lost is sent again.
func drain(ctx context.Context, c mqtt.Client, window int, next func() []byte, done func()) {
	var held [][]byte
	var tokens []mqtt.Token
	for ctx.Err() == nil {
		for len(held) < window && (len(held) == 0 || len(tokens) == len(held)) {
			p := next()
			if p == nil {
				return
			}
			held = append(held, p)
			if !c.IsConnectionOpen() {
				break
			}
			tokens = append(tokens, c.Publish(topic, 1, false, p))
		}
		if !c.IsConnectionOpen() {
			tokens = tokens[:0]
			time.Sleep(5 * time.Millisecond)
			continue
		}
		for _, p := range held[len(tokens):] {
			tokens = append(tokens, c.Publish(topic, 1, false, p))
		}
		if tokens[0].Wait(); tokens[0].Error() != nil {
			tokens = tokens[:0]
			continue
		}
		done()
		held, tokens = held[1:], tokens[1:]
	}
}

// key is a number as a key with the same order.
func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
