package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// A job is what a worker does: a process of its own, so that its processor time and
// memory are those of one peer.
type job struct {
	Peer   string
	Dir    string // where the peer keeps what waits
	Broker string // host:port
	N      int    // readings to take in
	From   int    // the number of the first
	Rate   float64
	Room   string // host:port on which a peer may listen
}

const (
	topic  = "bench/room"
	window = 20 // messages in flight, where a peer has a choice
)

// A peer is one way to get readings to a broker that may be away.
type peer interface {
	// put returns when the peer has accepted a reading, as durably as it ever does.
	put(seq int, payload []byte) error
	close() error
}

// peers are all that are compared, in the order of the tables.
var peers = []struct {
	name    string
	about   string
	open    func(context.Context, job) (peer, error)
	memory  bool // keeps nothing on disk
	trickle bool // is too slow for a burst
}{
	{"minimal", "a minimal client, nothing on disk: the ceiling", openMinimal, true, false},
	{"paho", "paho.mqtt.golang, nothing on disk: the library alone", openPaho, true, false},
	{"holdfast", "queue and link of this tree, `drain: {rate: 0}`", openHoldfast, false, false},
	{"filestore", "paho.mqtt.golang with its FileStore", openFileStore, false, false},
	{"autopaho", "autopaho (MQTT 5) with its file queue", openAutopaho, false, false},
	{"bbolt", "one bbolt transaction to put and one to delete, paho", openBbolt, false, false},
	{"diskqueue", "go-diskqueue, synced every 2,500 messages or 2 s as nsqd does, paho", openDiskqueue, false, false},
	{"bridge", "Mosquitto as a bridge, with `persistence true` and its defaults", openBridge, false, false},
	{"bridge1", "the same, `autosave_on_changes true` and `autosave_interval 1`", openSavingBridge, false, true},
}

// reading is a payload such as sensors have, with its number.
func reading(seq int) []byte {
	return fmt.Appendf(nil, `{"seq":%d,"ts":%d,"value":%.2f,"unit":"°C"}`, seq, time.Now().UnixMilli(),
		20+float64(seq%700)/100)
}

// work does a job, says "accepted" and after how many ns when all readings are taken
// in, and goes on delivering until its standard input ends.
func work(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	for _, p := range peers {
		if p.name == j.Peer {
			return j.run(p.open)
		}
	}
	return fmt.Errorf("no peer is called %q", j.Peer)
}

func (j job) run(open func(context.Context, job) (peer, error)) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	p, err := open(ctx, j)
	if err != nil {
		return err
	}
	start := time.Now()
	for i := range j.N {
		if j.Rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(i) / j.Rate * float64(time.Second)))))
		}
		seq := j.From + i
		if err := p.put(seq, reading(seq)); err != nil {
			return fmt.Errorf("reading %d: %w", seq, err)
		}
	}
	fmt.Println("accepted", time.Since(start).Nanoseconds())
	io.Copy(io.Discard, os.Stdin)
	return p.close()
}
