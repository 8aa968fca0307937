package main

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/peers/wire"
)

// arrivals are the readings that a subscriber has got.
type arrivals struct {
	mu           sync.Mutex
	seen         map[int]bool
	twice, mixed int
	newest       int
	first, last  time.Time
}

// listen subscribes until the broker ends the connection.
func listen(addr string) (*arrivals, error) {
	c, err := wire.Dial(addr, "subscriber", false)
	if err != nil {
		return nil, err
	}
	a := &arrivals{seen: map[int]bool{}}
	go func() {
		defer c.Close()
		for {
			kind, body, err := c.Read()
			if err != nil {
				return
			}
			if kind != wire.Publish {
				continue
			}
			name, text := c.Acknowledge(body)
			if string(name) == topic {
				a.take(text)
			}
			if !c.Waiting() && c.Out.Flush() != nil {
				return
			}
		}
	}()
	return a, nil
}

// take records a reading. Each payload has its number as "seq":N.
func (a *arrivals) take(text []byte) {
	_, rest, _ := bytes.Cut(text, []byte(`"seq":`))
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.Atoi(string(rest[:max(end, 0)]))
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		return
	case a.seen[n]:
		a.twice++
		return
	case n < a.newest:
		a.mixed++
	}
	a.seen[n], a.newest, a.last = true, max(a.newest, n), time.Now()
	if a.first.IsZero() {
		a.first = a.last
	}
}

// wait waits until n readings have arrived, or none for some time.
func (a *arrivals) wait(ctx context.Context, n int, quiet time.Duration) {
	began := time.Now()
	for ctx.Err() == nil {
		a.mu.Lock()
		got, last := len(a.seen), a.last
		a.mu.Unlock()
		if last.Before(began) {
			last = began
		}
		if got >= n || time.Since(last) > quiet {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
