package main

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/build/rig/link"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// A site is an agent, a broker, and the link between them.
type site struct {
	job
	broker *mosquitto.Broker
	cable  *link.Link
	meter  *meter
	seen   *seen
	clock  *clock.Timekeeper
	log    *slog.Logger

	queue  *queue.Queue
	acked  chan struct{}  // an alarm was acknowledged
	taken  chan time.Time // an alarm was peeked for sending
	newest uint64         // the newest of these alarms
	put    struct{ readings, alarms int }
	stop   context.CancelFunc // of the queue
	up     context.CancelFunc // of the link
	all    sync.WaitGroup     // the queue
	links  sync.WaitGroup
}

// Ack makes the site the backlog of its link, so that it can observe alarms.
func (s *site) Ack(items []queue.Item) error {
	err := s.queue.Ack(items)
	for i := range items {
		if items[i].Priority == sensors.Alarm && items[i].Event == "" {
			s.acked <- struct{}{}
		}
	}
	return err
}

// Peek records when an alarm is returned for the first time.
func (s *site) Peek(c *queue.Cursor, max int) ([]queue.Item, error) {
	items, err := s.queue.Peek(c, max)
	if len(items) > 0 && items[0].Priority == sensors.Alarm && items[0].Event == "" && items[0].Seq > s.newest {
		s.newest = items[0].Seq
		s.taken <- time.Now()
	}
	return items, err
}

func (s *site) Arrived() <-chan struct{} { return s.queue.Arrived() }

func (s *site) Reject(it queue.Item, declare bool) error { return s.queue.Reject(it, declare) }

func (s *site) Rejected(c *queue.Cursor, max int) ([]queue.Item, error) {
	return s.queue.Rejected(c, max)
}

// open starts everything except the link.
func open(dir string, j job) (*site, error) {
	s := &site{job: j, meter: &meter{}, clock: clock.NewTimekeeper(clock.TrustAlways),
		acked: make(chan struct{}, 10_000), taken: make(chan time.Time, 10_000),
		log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
	var err error
	if s.broker, err = mosquitto.Start(dir, mosquitto.Unbounded+"set_tcp_nodelay true\n"); err != nil {
		return nil, err
	}
	if s.seen, err = subscribe(s.broker.Addr); err != nil {
		return nil, err
	}
	if s.cable, err = link.New(s.broker.Addr, s.meter.tap, j.shape); err != nil {
		return nil, err
	}
	s.queue, err = queue.Open(queue.Options{Path: filepath.Join(dir, "queue.db"), MaxSize: 64 << 20,
		SyncEvery: 5 * time.Second, Clock: s.clock}, s.log)
	if err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.all.Go(func() { s.queue.Run(ctx) })
	for range j.waiting {
		s.putReading()
	}
	return s, nil
}

func (s *site) close() {
	s.stop()
	s.all.Wait()
	s.queue.Close()
	s.cable.Close()
	s.seen.client.Disconnect(100)
	s.broker.Stop()
}

func (s *site) reading(stream string, seq int) sensors.Reading {
	return sensors.Reading{Stream: stream, Seq: uint64(seq), Value: float64(seq%10000) / 100, Unit: "%",
		At: s.clock.Now()}
}

func (s *site) putReading() {
	s.put.readings++
	s.queue.Put(s.reading("room", s.put.readings))
	for s.put.readings%4096 == 0 && s.queue.Stats().Memory > 8192 {
		time.Sleep(time.Millisecond) // let the queue write to disk
	}
}

func (s *site) putAlarm() {
	s.put.alarms++
	r := s.reading("door", s.put.alarms)
	r.Priority, r.State = sensors.Alarm, "open"
	s.queue.Put(r)
}

// alarm returns how long an alarm takes until it is acknowledged, and until it is sent.
func (s *site) alarm() (acked, sent time.Duration) {
	put := time.Now()
	s.putAlarm()
	<-s.acked
	return time.Since(put), (<-s.taken).Sub(put)
}

// link starts a link to an address, and the agent's readings and states.
func (s *site) link(addr string) {
	server := &url.URL{Scheme: "mqtt", Host: addr}
	opt := uplink.Options{Broker: mqtt.Broker{ClientID: "site", Servers: []*url.URL{server},
		KeepAlive: 15 * time.Second, Clock: s.clock}, Topics: payload.DefaultPatterns,
		Drain: uplink.Drain{Window: s.window}, Boot: s.queue.Boot(), Stats: s.queue.Stats,
		Streams: []sensors.Stream{{Name: "room"}, {Name: "door"}}}
	link := uplink.New(opt, s, uplink.DialMQTT(opt.Broker), s.log)
	var ctx context.Context
	ctx, s.up = context.WithCancel(context.Background())
	s.links.Go(func() { link.Run(ctx) })
	s.links.Go(func() {
		for seq := 1; ctx.Err() == nil; seq++ {
			link.Observe(s.reading("room", seq))
			time.Sleep(s.states)
		}
	})
}

func (s *site) unlink() {
	s.up()
	s.links.Wait()
}

// drained returns when the queue is empty.
func (s *site) drained() {
	for s.queue.Stats().Backlog > 0 {
		time.Sleep(10 * time.Millisecond)
	}
}
