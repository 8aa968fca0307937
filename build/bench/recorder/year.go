package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
)

// A year of ten streams at 30 s: a tenth of what a hundred streams make.
const (
	yearStreams = 10
	yearStep    = 30_000 // milliseconds
	yearLength  = 365 * 24 * 3_600_000
)

// year fills a database with a year of readings, and measures queries of several ranges,
// and the memory of a recorder that writes 1,000 readings a second into it.
func year(ctx context.Context, b *bench) error {
	database := filepath.Join(b.dir, "year.db")
	s, err := store.Open(ctx, store.Options{Database: "sqlite:" + database, Unknown: "accept", MaxQuarantine: 1})
	if err != nil {
		return err
	}
	defer s.Close()
	// The year ends now, because the pages ask for the last hour, day, week and year.
	end := time.Now().UnixMilli()
	began := time.Now()
	if err := fillYear(ctx, s, end-yearLength); err != nil {
		return err
	}
	fmt.Printf("filled in %v, ", time.Since(began).Round(time.Second))
	began = time.Now()
	// All at once; a running recorder does it continuously, hour by hour.
	hours, err := s.RollUp(ctx)
	if err != nil {
		return err
	}
	info, err := os.Stat(database)
	if err != nil {
		return err
	}
	const n = yearStreams * yearLength / yearStep
	fmt.Printf("%d hours computed in %v; %d rows, %.0f bytes each\n\n", hours, time.Since(began).Round(time.Second), n,
		float64(info.Size())/n)
	if err := queries(ctx, s, end); err != nil {
		return err
	}
	return memory(ctx, b, database)
}

// fillYear stores the year with Commit, as the recorder does, in batches of 20,000.
func fillYear(ctx context.Context, s *store.Store, from int64) error {
	var batch []store.Item
	// In the order in which ten nodes would have sent them.
	for i := range int64(yearLength / yearStep) {
		for stream := range yearStreams {
			batch = append(batch, store.Item{At: from + i*yearStep, Message: message.Reading{
				Device: fmt.Sprintf("node-%d", stream), Stream: "temperature", Key: message.Key{Boot: "17-9f3c02ab", Seq: i + 1},
				TS: from + i*yearStep, Value: float64(i%2000) / 100, Unit: "°C"}})
		}
		if len(batch) >= 20_000 || i+1 == yearLength/yearStep {
			if _, err := s.Commit(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}

// queries prints the medians of queries: several ranges of one stream, up to a year, and
// the fleet.
func queries(ctx context.Context, s *store.Store, end int64) error {
	buckets := func(days int64, width time.Duration) func() error {
		return func() error {
			r := store.Range{Device: "node-3", Stream: "temperature", From: end - days*24*3_600_000, To: end}
			all, err := s.Buckets(ctx, r, width)
			if err == nil && len(all) == 0 {
				err = fmt.Errorf("no buckets in %d days", days)
			}
			return err
		}
	}
	fmt.Printf("| query | ms |\n|---|---:|\n")
	for _, q := range []struct {
		name string
		run  func() error
	}{
		{"a stream's year by hours", buckets(365, time.Hour)},
		{"a stream's year by days", buckets(365, 24*time.Hour)},
		{"a stream's week by 10 minutes", buckets(7, 10*time.Minute)},
		{"a stream's day by minutes", buckets(1, time.Minute)},
		{"the fleet", func() error { _, err := s.Fleet(ctx); return err }},
	} {
		// The first of them reads from the disk, the others from memory, so the median is that of a
		// warm cache.
		var took []time.Duration
		for range 11 {
			began := time.Now()
			if err := q.run(); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		fmt.Printf("| %s | %.1f |\n", q.name, took[len(took)/2].Seconds()*1000)
	}
	return nil
}

// memory runs the recorder for a while at 1,000 readings a second.
func memory(ctx context.Context, b *bench, database string) error {
	m, err := mosquitto.Start(b.dir, unbounded)
	if err != nil {
		return err
	}
	defer m.Stop()
	conf := filepath.Join(b.dir, "recorder.yaml")
	text := fmt.Sprintf("client_id: rec\nmqtt: {server: \"mqtt://%s\"}\ndatabase: \"sqlite:%s\"\n", m.Addr, database)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.binary, "run", "-c", conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + m.Addr).SetClientID("load"))
	if tok := client.Connect(); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		return fmt.Errorf("connect: %w", tok.Error())
	}
	defer client.Disconnect(100)
	// Twice the interval of the rollups, so that some rollups happen in this time.
	const seconds = 60
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range seconds * 100 {
		// Ten readings at once, a hundred times a second.
		for j := range 10 {
			topic, payload := reading(i*10 + j)
			client.Publish(topic, 1, false, payload)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Printf("\nthe recorder's memory at 1,000 readings/s for %d s, with this database: %.1f MiB at most\n", seconds,
		float64(peakMemory(cmd.Process.Pid))/1024)
	return nil
}
