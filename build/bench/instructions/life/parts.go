package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

const (
	quickPace = 2 * time.Millisecond  // between two samples: the timers are counted too
	livePace  = 20 * time.Millisecond // long enough that a reading is acknowledged before the next one
	group     = 20                    // readings in one Peek, as in a window of the link

	clientID = "porch" // package mqtttest's broker records this client's readings
)

var silent = slog.New(slog.DiscardHandler)

// A device measures without delay. It is used only by the sampler's goroutine.
type device struct {
	left int
	done chan<- struct{} // is closed after the last measurement
}

func (d *device) Next(context.Context) ([]sensors.Sample, error) {
	if d.left--; d.left == 0 {
		close(d.done)
	}
	return []sensors.Sample{{Quantity: "temperature", Value: value(d.left)}}, nil
}

func (d *device) Close() error { return nil }

// value is a temperature with two decimals.
func value(n int) float64 { return 20 + float64(n%700)/100 }

// room is a stream that uses every filter. Each sample differs enough from the previous one
// to be reported.
func room() sensors.Stream {
	low, high := -40.0, 85.0
	return sensors.Stream{Name: "room", Kind: "bme280",
		Quantity: sensors.Quantity{Name: "temperature", Unit: "°C", Class: "temperature"},
		Filter: sensors.Filter{Valid: sensors.Valid{Min: &low, Max: &high}, Report: sensors.Report{Change: 0.005},
			Alarm: &sensors.Limit{At: 60, Clear: 58, Stream: sensors.Stream{Name: "hot",
				Quantity: sensors.Quantity{Name: "hot", States: sensors.AlarmStates}}}},
	}
}

// sampled measures n times, and passes each reading to record.
func (l life) sampled(ctx context.Context, every time.Duration, record func(sensors.Reading)) {
	done := make(chan struct{})
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-done:
		case <-ctx.Done():
		}
		stop()
	}()
	open := func(context.Context, sensors.Spec) (sensors.Sensor, error) {
		return &device{left: l.n, done: done}, nil
	}
	_ = sensors.Run(ctx, []sensors.Spec{{Name: "room", Kind: "bme280", Every: every, Streams: []sensors.Stream{room()}}},
		sensors.Wiring{Open: open, Record: record, Report: func(sensors.Event) {}, Clock: l.clock, Log: silent})
}

// sample is the sensors' part: a timer, the call of the driver, the filters, the sequence
// number and the stamp.
func (l life) sample(ctx context.Context) error {
	got := 0
	l.sampled(ctx, quickPace, func(sensors.Reading) { got++ })
	if got < l.n-1 { // the last one may be missing at the end
		return fmt.Errorf("%d readings of %d samples", got, l.n)
	}
	return nil
}

// reading is a reading as a stream creates it.
func (l life) reading(seq int) sensors.Reading {
	return sensors.Reading{Stream: "room", Seq: uint64(seq), Value: value(seq), Unit: "°C", At: l.clock.Now()}
}

// withQueue runs a queue, and returns its error.
func (l life) withQueue(ctx context.Context, do func(*queue.Queue) error) error {
	q, err := queue.Open(queue.Options{Path: filepath.Join(l.dir, "queue.db"), MaxSize: 1 << 30,
		SyncEvery: 5 * time.Second, Clock: l.clock}, silent)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = q.Run(ctx) }()
	err = do(q)
	stop()
	<-ended
	if err != nil {
		return err
	}
	return q.Close()
}

// put is the queue's part while the link is up: each reading is put, peeked and
// acknowledged.
func (l life) put(ctx context.Context) error {
	return l.withQueue(ctx, func(q *queue.Queue) error {
		for seq := 1; seq <= l.n; seq++ {
			q.Put(l.reading(seq))
			if seq%group != 0 {
				continue
			}
			items, err := q.Peek(&queue.Cursor{}, group)
			if err != nil || len(items) != group {
				return fmt.Errorf("%d readings wait, want %d: %w", len(items), group, err)
			}
			if err := q.Ack(items); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// encode encodes the payload.
func (l life) encode(context.Context) error {
	var b []byte
	size := 0
	for seq := 1; seq <= l.n; seq++ {
		b = payload.Append(b[:0], queue.Item{Reading: l.reading(seq), Boot: "1-00000000"}, false)
		size += len(b)
	}
	if size < l.n*len(`{"value":20}`) {
		return fmt.Errorf("%d bytes in %d payloads", size, l.n)
	}
	return nil
}

// drain puts readings without a link, and then sends them all.
func (l life) drain(ctx context.Context) error {
	return l.withQueue(ctx, func(q *queue.Queue) error {
		for seq := 1; seq <= l.n; seq++ {
			q.Put(l.reading(seq))
		}
		return l.linked(ctx, q, func(*uplink.Link) {})
	})
}

// live measures, puts and sends, one reading after the other.
func (l life) live(ctx context.Context) error {
	return l.withQueue(ctx, func(q *queue.Queue) error {
		return l.linked(ctx, q, func(link *uplink.Link) {
			l.sampled(ctx, livePace, func(r sensors.Reading) { link.Observe(r); q.Put(r) })
		})
	})
}

// linked calls do with a running link, and returns when the queue is empty.
func (l life) linked(ctx context.Context, q *queue.Queue, do func(*uplink.Link)) error {
	opt := uplink.Options{Broker: mqtt.Broker{ClientID: clientID, Servers: []*url.URL{{Scheme: "mqtt", Host: l.broker}},
		KeepAlive: time.Minute, Clock: l.clock}, Topics: payload.DefaultPatterns, Boot: q.Boot(),
		Streams: []sensors.Stream{room()}}
	link := uplink.New(opt, q, uplink.DialMQTT(opt.Broker), silent)
	run, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = link.Run(run) }()
	do(link)
	for q.Stats().Backlog > 0 && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	<-ended
	return ctx.Err()
}
