package queue_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// openTemp opens a queue in a new folder.
func openTemp() (*queue.Queue, func()) {
	dir, err := os.MkdirTemp("", "queue-*")
	if err != nil {
		panic(err)
	}
	q, err := queue.Open(queue.Options{
		Path:      filepath.Join(dir, "queue.db"),
		MaxSize:   64 << 20,
		SyncEvery: 5 * time.Second,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	return q, func() {
		q.Close()
		os.RemoveAll(dir)
	}
}

func reading(seq uint64, celsius float64) sensors.Reading {
	at := clock.Stamp{Unix: 1767225600000 + int64(seq)*1000, Clock: clock.Synced}
	return sensors.Reading{Stream: "greenhouse/temperature", Seq: seq, At: at, Value: celsius, Unit: "°C"}
}

// A reading waits until it is acknowledged.
func Example() {
	q, end := openTemp()
	defer end()
	// In an agent, go q.Run(ctx) writes what waits for longer than SyncEvery.

	q.Put(reading(1, 21.5))
	q.Put(reading(2, 21.7))

	var c queue.Cursor
	items, err := q.Peek(&c, 10)
	if err != nil {
		panic(err)
	}
	for _, it := range items {
		fmt.Println(it.Seq, it.Value, it.Unit) // publish it here
		c.Advance(it)
	}
	if err := q.Ack(items); err != nil { // when the broker has acknowledged
		panic(err)
	}
	fmt.Println("waiting:", q.Stats().Backlog)
	// Output:
	// 1 21.5 °C
	// 2 21.7 °C
	// waiting: 0
}

// After a lost connection everything that was not acknowledged comes again.
func ExampleCursor() {
	q, end := openTemp()
	defer end()
	for seq := range uint64(3) {
		q.Put(reading(seq+1, 20))
	}
	var c queue.Cursor
	first, _ := q.Peek(&c, 2)
	for _, it := range first {
		c.Advance(it)
	}
	rest, _ := q.Peek(&c, 2)
	fmt.Println("first", first[0].Seq, "then", rest[0].Seq)

	q.Ack(first[:1])
	c.Rewind() // a new session
	again, _ := q.Peek(&c, 10)
	fmt.Println("again", again[0].Seq, "to", again[len(again)-1].Seq)
	// Output:
	// first 1 then 3
	// again 2 to 3
}

// A message that the broker does not accept leaves its lane, and stays on disk.
func ExampleQueue_Reject() {
	q, end := openTemp()
	defer end()
	q.Put(reading(1, 21.5))

	var c queue.Cursor
	items, _ := q.Peek(&c, 1)
	if err := q.Reject(items[0], false); err != nil {
		panic(err)
	}
	s := q.Stats()
	fmt.Println("waiting:", s.Backlog, "rejected:", s.Rejected)
	// Output:
	// waiting: 0 rejected: 1
}
