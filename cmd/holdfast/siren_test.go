package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/broker"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// sirenHouse has a siren that is on for 100 ms when the door is opened.
const sirenHouse = `client_id: house
mqtt: {server: "mqtt://%s"}
queue: {path: %q}
sensors:
  door: {kind: simulated, steps: {states: [closed, open], every: 1h}, class: door, alarm: true}
  load: {kind: simulated, counter: {}, every: 5ms}
outputs:
  siren: {kind: simulated, class: siren, max_on: 10s}
rules:
  intruder: {when: {door: open}, then: {siren: 100ms}}
`

// BenchmarkDoorToSiren measures from the edge of a contact, as its driver has it, to the
// line of the siren, while 100,000 readings of an earlier start wait or drain:
//
//	go test ./cmd/holdfast -run - -bench DoorToSiren -benchtime 200x
//
// The whole agent is there: sampler, rule, output, queue on disk, link, and a broker
// behind a cable that is well, pulled, or lets through 2 kB a second.
func BenchmarkDoorToSiren(b *testing.B) {
	for _, link := range []struct {
		name string
		cable.Link
		pulled bool
	}{{name: "well"}, {name: "down", pulled: true}, {name: "thin", Link: cable.Link{Carry: trickle}}} {
		b.Run(link.name, func(b *testing.B) {
			server, err := broker.Listen("127.0.0.1:0", "", slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			wire, err := cable.New(server.Addr().String(), nil, link.Link)
			if err != nil {
				b.Fatal(err)
			}
			defer wire.Close()
			if link.pulled {
				wire.Pull()
			}
			path := filepath.Join(b.TempDir(), "queue.db")
			storeReadings(b, path, 100_000)
			cfg, err := config.Parse("house", fmt.Appendf(nil, sirenHouse, wire.Addr(), path))
			if err != nil {
				b.Fatal(err)
			}
			measureSiren(b, cfg)
		})
	}
}

// measureSiren runs the agent and opens the door b.N times.
func measureSiren(b *testing.B, cfg config.Config) {
	door, siren := &openDoor{edges: make(chan float64)}, &fakeSiren{set: make(chan bool)}
	open := func(ctx context.Context, spec sensors.Spec) (sensors.Sensor, error) {
		if spec.Name == "door" {
			door.quantity = spec.Streams[0].Quantity.Name
			return door, nil
		}
		return drivers.NewHardware().Open(ctx, spec)
	}
	openLine := func(context.Context, outputs.Spec) (outputs.Line, error) { return siren, nil }
	ctx, stop := context.WithCancel(b.Context())
	var agent sync.WaitGroup
	agent.Go(func() {
		_, err := serve(ctx, cfg, surroundings{open: open, openLine: openLine, log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, context.Canceled) {
			b.Error(err)
		}
	})
	var took []time.Duration
	door.edges <- 0
	for b.Loop() {
		edge := time.Now()
		door.edges <- 1
		siren.await(true)
		took = append(took, time.Since(edge))
		door.edges <- 0
		siren.await(false)
	}
	stop()
	agent.Wait()
	slices.Sort(took)
	b.ReportMetric(0, "ns/op") // most of it is the time that the siren is on
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms-p50")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "ms-p99")
}

// trickle forwards 2 kB a second.
func trickle(from net.Conn, _ bool, deliver func([]byte) bool) {
	packet := make([]byte, 256)
	for {
		n, err := from.Read(packet)
		if err != nil || !deliver(packet[:n]) {
			return
		}
		time.Sleep(time.Duration(n) * time.Second / 2048)
	}
}

// An openDoor is a contact whose edges come from the test.
type openDoor struct {
	edges    chan float64
	quantity string
}

func (d *openDoor) Next(ctx context.Context) ([]sensors.Sample, error) {
	select {
	case value := <-d.edges:
		return []sensors.Sample{{Quantity: d.quantity, Value: value}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *openDoor) Close() error { return nil }

// A fakeSiren is the line of a siren that reports its changes to the test.
type fakeSiren struct {
	set chan bool

	mu sync.Mutex
	on bool // guarded by mu
}

func (s *fakeSiren) Set(ctx context.Context, on bool) error {
	s.mu.Lock()
	changed := s.on != on
	s.on = on
	s.mu.Unlock()
	if !changed {
		return nil
	}
	select {
	case s.set <- on:
	case <-ctx.Done():
	}
	return nil
}

func (s *fakeSiren) Get(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on, nil
}

func (s *fakeSiren) Close() error { return nil }

// await waits until the siren is on, or off.
func (s *fakeSiren) await(on bool) {
	for got := range s.set {
		if got == on {
			return
		}
	}
}

// storeReadings creates a queue's file with readings of an earlier start.
func storeReadings(t testing.TB, path string, readings int) {
	t.Helper()
	q, err := queue.Open(queue.Options{Path: path, MaxSize: 64 << 20, SyncEvery: time.Second, ClientID: "house"},
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() { q.Run(ctx) })
	keeper := clock.NewTimekeeper(clock.TrustAlways)
	for seq := range uint64(readings) {
		q.Put(sensors.Reading{Stream: "load", Seq: seq + 1, Value: float64(seq), At: keeper.Now()})
	}
	stop()
	writer.Wait()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
