package main

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/build/rig/link"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// traffic counts the bytes of a cable.
type traffic struct {
	mu                 sync.Mutex
	up, down           int // bytes
	packsUp, packsDown int
}

func (t *traffic) tap() cable.Tap { return t }
func (t *traffic) ToServer(data []byte) {
	t.mu.Lock()
	t.up, t.packsUp = t.up+len(data), t.packsUp+1
	t.mu.Unlock()
}
func (t *traffic) ToClient(data []byte) {
	t.mu.Lock()
	t.down, t.packsDown = t.down+len(data), t.packsDown+1
	t.mu.Unlock()
}

// slow is a link of 20 kbit/s.
var slow = link.Shape{Rate: 20_000, Delay: 300 * time.Millisecond, Buffer: 16 << 10}

// wires prints the bytes of a reading: on a fast link, where many share a packet, and on a
// slow link, where each has its own packet and is historical when it is sent: 18 bytes
// more.
func wires(dir string, window int) error {
	config, ca, err := mosquitto.TLS(dir)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name, scheme, config string
		version              mqtt.Version
		tls                  mqtt.TLS
		shape                link.Shape
		n                    int
	}{
		{"mqtt, quick", "mqtt", "", mqtt.V311, mqtt.TLS{}, link.Shape{}, 20_000},
		{"mqtts, quick", "mqtts", config, mqtt.V311, mqtt.TLS{CA: ca}, link.Shape{}, 20_000},
		{"mqtt, 20 kbit/s", "mqtt", "", mqtt.V311, mqtt.TLS{}, slow, 300},
		{"mqtt 5, 20 kbit/s", "mqtt", "", mqtt.V5, mqtt.TLS{}, slow, 300},
		{"mqtts, 20 kbit/s", "mqtts", config, mqtt.V311, mqtt.TLS{CA: ca}, slow, 300},
	} {
		b, err := mosquitto.Start(dir, c.config+"set_tcp_nodelay true\n")
		if err != nil {
			return err
		}
		// The session has a cost too, so the difference between two numbers of readings counts.
		few, err := carry(filepath.Join(dir, c.name, "few"), b.Addr, c.scheme, bench, c.version, c.tls, c.shape,
			c.n/10, window)
		if err != nil {
			return err
		}
		many, err := carry(filepath.Join(dir, c.name, "many"), b.Addr, c.scheme, bench, c.version, c.tls, c.shape,
			c.n, window)
		if err != nil {
			return err
		}
		b.Stop()
		each := func(many, few int) float64 { return float64(many-few) / float64(c.n-c.n/10) }
		fmt.Printf("%-17s a reading takes %5.1f bytes there and %4.1f back, in %.2f and %.2f packets; with %d for "+
			"each %.0f and %.0f\n",
			c.name, each(many.up, few.up), each(many.down, few.down), each(many.packsUp, few.packsUp),
			each(many.packsDown, few.packsDown), link.Header,
			each(many.up+many.packsUp*link.Header, few.up+few.packsUp*link.Header),
			each(many.down+many.packsDown*link.Header, few.down+few.packsDown*link.Header))
	}
	return nil
}

// carry drains n readings over a cable.
func carry(path, addr, scheme string, who names, version mqtt.Version, tls mqtt.TLS, shape link.Shape, n,
	window int) (*traffic, error) {
	t := &traffic{}
	c, err := link.New(addr, t.tap, shape) // a cable without a shape has no limit
	if err != nil {
		return nil, err
	}
	defer c.Close()
	a, err := newAgent(filepath.Join(path, "queue.db"), who, n)
	if err != nil {
		return nil, err
	}
	defer a.close()
	_, err = a.drain(scheme+"://"+c.Addr(), version, tls, window)
	return t, err
}
