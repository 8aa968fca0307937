package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// A job is the task of a worker, which is a separate process, so that its CPU time and
// memory are those of one peer.
type job struct {
	Peer   string
	Dir    string // where the peer stores its backlog
	Broker string // host:port
	N      int    // readings to take in
	From   int    // the number of the first
	Rate   float64
	Window int    // messages in flight, if the peer has this option
	Room   string // host:port on which a peer may listen

	Agent, Telegraf string // paths of the programs
}

const topic = "bench/room"

// windows are the windows that drains are measured with.
var windows = []int{20, 128}

// A peer is one way to deliver readings to a broker that may be away.
type peer interface {
	// put returns when the peer has accepted a reading, as durably as it ever does.
	put(seq int, payload []byte) error
	close() error
}

// A kind is a peer as the tables show it.
type kind struct {
	name, about string
	open        func(context.Context, job) (peer, error)

	ours     bool // it is a variant of holdfast
	memory   bool // it stores nothing on disk
	trickle  bool // it is too slow for a burst
	slow     bool // it is too slow for a long burst
	noWindow bool // the number of messages in flight cannot be set
	noDrain  bool // only its start and an outage are measured
	large    bool // it accepts a very large burst within a minute
	connects bool // it does not start without a broker
}

// slowBurst is the largest burst for a slow peer.
const slowBurst = 1000

// kinds are all peers that are compared, in the order of the tables.
var kinds = []kind{
	{name: "minimal", about: "a minimal client, nothing on disk: a ceiling", open: openMinimal, memory: true,
		large: true},
	{name: "halves", about: "the same, which refills its window by halves: fewer, larger writes", open: openHalves,
		memory: true, large: true},
	{name: "paho", about: "paho.mqtt.golang, nothing on disk: the library alone", open: openPaho, memory: true,
		large: true},
	{name: "holdfast", about: "queue and link, `drain: {rate: 0}`, `window` one more: kept for an alarm",
		open: openHoldfast, large: true},
	{name: "default", about: "the same with the default window: 20, which grows to 128 on a quick link",
		open: openDefault, ours: true, noWindow: true, large: true},
	{name: "agent", about: "the program `holdfast run` with one sensor: its start", open: openAgent, ours: true,
		noDrain: true},
	{name: "filestore", about: "paho.mqtt.golang with its FileStore", open: openFileStore, noWindow: true},
	{name: "autopaho", about: "autopaho (MQTT 5) with its file queue", open: openAutopaho, noWindow: true, slow: true},
	{name: "bbolt", about: "one bbolt transaction to put and one to delete, paho", open: openBbolt, slow: true},
	{name: "diskqueue", about: "go-diskqueue, synced every 2,500 messages or 2 s as nsqd does, paho",
		open: openDiskqueue, large: true},
	{name: "ring", about: "a file of slots, written at once, one fdatasync each 5 s, the minimal client by halves; its " +
		"first start writes 32 MiB of zeros",
		open: openRing, large: true},
	{name: "bridge", about: "Mosquitto as a bridge, with `persistence true` and its defaults",
		open: openBridge, large: true},
	{name: "bridge1", about: "the same, `autosave_on_changes true` and `autosave_interval 1`",
		open: openSavingBridge, trickle: true},
	{name: "telegraf", about: "Telegraf, http_listener_v2 to mqtt, `buffer_strategy = \"disk\"`, flushed each second",
		open: openTelegraf, noWindow: true, slow: true, connects: true},
}

// reading is a typical payload of a sensor, with its number.
func reading(seq int) []byte {
	return fmt.Appendf(nil, `{"seq":%d,"ts":%d,"value":%.2f,"unit":"°C"}`, seq, time.Now().UnixMilli(),
		20+float64(seq%700)/100)
}

// work runs a job. It prints "opened" and waits for a line; when all readings are accepted
// it prints "accepted" and the time in ns, and continues to deliver until its standard
// input ends.
func work(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	for _, k := range kinds {
		if k.name == j.Peer {
			return j.run(k.open)
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
	fmt.Println("opened", os.Getpid())
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return p.close() // the parent does not want readings any more
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
	io.Copy(io.Discard, in)
	return p.close()
}
