package main

import (
	"encoding/gob"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/powercut/promise"
	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// maxWaiting limits the backlog, and so the time of a check.
const maxWaiting = 1500

type msgKind uint8

const (
	msgFound  msgKind = iota // what a copy of the queue holds
	msgOpened                // the queue itself is open
	msgFact
)

// A message is what the killed process sends to its parent. It is written in one write, so
// that a kill cannot cut it.
type message struct {
	Kind       msgKind
	Items      []queue.Item
	Violations []promise.Violation
	Fact       promise.Fact
}

// A child puts and acknowledges readings until it is killed.
type child struct {
	*promise.Running
	epoch time.Time
	early bool // reports that Put has returned before it is called

	mu   sync.Mutex
	tell *gob.Encoder
}

func childMain(args []string) {
	flags := flag.NewFlagSet("child", flag.ExitOnError)
	dir := flags.String("dir", "", "")
	seed, life := flags.Uint64("seed", 0, ""), flags.Uint64("life", 0, "")
	epoch := flags.Int64("epoch", 0, "")
	early := flags.Bool("early", false, "")
	flags.Parse(args)

	c := &child{epoch: time.Unix(0, *epoch), early: *early, tell: gob.NewEncoder(os.Stdout)}
	items, found, err := inspect(*dir)
	if err != nil {
		fatal(err)
	}
	c.send(message{Kind: msgFound, Items: items, Violations: found})
	if c.Running, err = promise.Start(promise.Options(*dir, childSync, ""),
		slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fatal(err)
	}
	c.send(message{Kind: msgOpened})
	for n := range 3 {
		random := rand.New(rand.NewPCG(*seed, *life<<8|uint64(n)))
		go c.put(&promise.Source{Rand: random}, n)
	}
	c.take(rand.New(rand.NewPCG(*seed, *life<<8|255)))
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// asFound is the copy of a folder that nothing has opened since the kill.
func asFound(dir string) string { return dir + "-found" }

// inspect drains a copy, so that the queue keeps its backlog.
func inspect(dir string) ([]queue.Item, []promise.Violation, error) {
	drained := dir + "-drained"
	for _, copied := range []string{asFound(dir), drained} {
		if err := copyFolder(copied, dir); err != nil {
			return nil, nil, err
		}
	}
	items, found := promise.Drain(drained, childSync, "")
	return items, found, nil
}

// copyFolder makes one folder equal to another.
func copyFolder(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

func (c *child) send(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tell.Encode(m) != nil {
		os.Exit(1) // the parent has gone
	}
}

func (c *child) note(f promise.Fact) {
	f.At = time.Since(c.epoch)
	c.send(message{Kind: msgFact, Fact: f})
}

// put puts readings of one lane until the process is killed. Two such goroutines put
// alarms, each of its own stream, and one puts routine readings of three streams.
func (c *child) put(s *promise.Source, n int) {
	for {
		if c.Stats().Backlog > maxWaiting {
			time.Sleep(time.Millisecond)
			continue
		}
		r := s.Next(sensors.Alarm, n)
		if n == 0 {
			r = s.Next(sensors.Routine, s.Rand.IntN(3))
		}
		began := promise.Beginning(c.Boot(), r)
		c.note(began)
		if c.early {
			c.note(began.End())
		}
		c.Put(r)
		if !c.early {
			c.note(began.End())
		}
	}
}

// take acknowledges the oldest items until the process is killed, in steps of random size.
func (c *child) take(random *rand.Rand) {
	for {
		time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
		if c.Stats().Backlog == 0 {
			continue
		}
		items, err := c.Take(1 + random.IntN(150))
		if err != nil {
			fatal(err)
		}
		for _, f := range promise.Taken(items) {
			c.note(f)
		}
		if err := c.Ack(items); err != nil {
			fatal(err)
		}
	}
}
