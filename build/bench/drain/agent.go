package main

import (
	"context"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// names make the topic of a reading: client/stream.
type names struct{ client, stream string }

// bench are the names of the agent that drains on loopback.
var bench = names{"bench", "room"}

// An agent is a queue and a link, without sensors.
type agent struct {
	names
	queue *queue.Queue
	clock *clock.Timekeeper
	stop  context.CancelFunc
	all   sync.WaitGroup
}

var silent = slog.New(slog.DiscardHandler)

// newAgent returns an agent with n readings in its queue.
func newAgent(path string, who names, n int) (*agent, error) {
	a := &agent{names: who, clock: clock.NewTimekeeper(clock.TrustAlways)}
	var err error
	a.queue, err = queue.Open(queue.Options{Path: path, MaxSize: 256 << 20, SyncEvery: 5 * time.Second, Clock: a.clock},
		silent)
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, a.stop = context.WithCancel(context.Background())
	a.all.Go(func() { a.queue.Run(ctx) })
	for seq := range n {
		a.queue.Put(reading(a.clock, a.stream, seq+1))
		if seq%8192 == 8191 { // let the queue write to disk
			for a.queue.Stats().Memory > 8192 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	return a, nil
}

func (a *agent) close() {
	a.stop()
	a.all.Wait()
	a.queue.Close()
}

// reading is a reading whose payload has the same length as all others.
func reading(clock *clock.Timekeeper, stream string, seq int) sensors.Reading {
	return sensors.Reading{Stream: stream, Seq: uint64(1_000_000 + seq), Value: 45.25, Unit: "%", At: clock.Now()}
}

// drain is the time until the queue is empty.
func (a *agent) drain(server string, version mqtt.Version, tls mqtt.TLS, window int) (time.Duration, error) {
	u, err := url.Parse(server)
	if err != nil {
		return 0, err
	}
	opt := uplink.Options{Broker: mqtt.Broker{ClientID: a.client, Servers: []*url.URL{u}, TLS: tls, Protocol: version,
		KeepAlive: 15 * time.Second, Clock: a.clock}, Topics: payload.DefaultPatterns,
		Drain: uplink.Drain{Window: window}, Boot: a.queue.Boot(), Streams: []sensors.Stream{{Name: a.stream}}}
	link := uplink.New(opt, a.queue, uplink.DialMQTT(opt.Broker), silent)
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	defer ended.Wait()
	defer stop()
	began := time.Now()
	ended.Go(func() { link.Run(ctx) })
	for a.queue.Stats().Backlog > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began), nil
}
