package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// start starts an agent: a queue, a link, and one sensor.
func (j job) start(ctx context.Context, all *sync.WaitGroup, addr, path string, i int) error {
	log, clock := slog.New(slog.DiscardHandler), clock.NewTimekeeper(clock.TrustAlways)
	q, err := queue.Open(queue.Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Hour, Clock: clock}, log)
	if err != nil {
		return err
	}
	opt := uplink.Options{Broker: mqtt.Broker{ClientID: fmt.Sprintf("agent-%d", i),
		Servers: []*url.URL{{Scheme: "mqtt", Host: addr}}, KeepAlive: time.Minute, Clock: clock},
		Topics: payload.DefaultPatterns, Drain: uplink.Drain{Rate: j.rate}, Boot: q.Boot(),
		Streams: []sensors.Stream{{Name: "room"}}}
	link := uplink.New(opt, q, uplink.DialMQTT(opt.Broker), log)
	linked, unlink := context.WithCancel(context.Background())
	all.Go(func() { link.Run(linked); q.Close() })
	all.Go(func() {
		defer unlink()
		wait := time.NewTimer(time.Duration(rand.Int64N(int64(j.every))))
		for seq := uint64(1); ; seq++ {
			select {
			case <-wait.C:
				wait.Reset(j.every)
			case <-ctx.Done():
				time.Sleep(2 * time.Second) // for the last acknowledgement
				return
			}
			r := sensors.Reading{Stream: "room", Seq: seq, Value: float64(seq), Unit: "%", At: clock.Now()}
			link.Observe(r)
			q.Put(r)
		}
	})
	return nil
}

// A counter records the times of CONNECT packets.
type counter struct {
	mu       sync.Mutex
	connects []time.Time
}

// tap watches one connection, whose first packet is CONNECT.
func (c *counter) tap() cable.Tap { return &door{counter: c} }

type door struct {
	*counter
	once sync.Once
}

func (d *door) ToClient([]byte) {}
func (d *door) ToServer([]byte) {
	d.once.Do(func() {
		d.mu.Lock()
		d.connects = append(d.connects, time.Now())
		d.mu.Unlock()
	})
}

func (c *counter) reset() { c.mu.Lock(); c.connects = nil; c.mu.Unlock() }

func (c *counter) times() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.connects...)
}
