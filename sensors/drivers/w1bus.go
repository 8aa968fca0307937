package drivers

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// w1Buses are the 1-wire buses in use, by the names of their masters.
type w1Buses struct {
	mu    sync.Mutex
	buses map[string]*w1Turn
}

// A w1Turn lets one part measure at a time. The kernel holds the bus for the 750 ms
// of a conversion where a part takes its supply from the data line; parts that
// waited for that in the kernel would use up the time of their calls there, and
// each would hold a thread.
type w1Turn struct {
	name  string
	token chan struct{} // in it while a part has the turn

	mu    sync.Mutex
	id    string    // who has the turn
	since time.Time // since when
}

// w1Stuck is how long one part may have the turn. A conversion that is tried five
// times takes four seconds.
const w1Stuck = 10 * time.Second

// of is the bus of a part.
func (b *w1Buses) of(dir string) *w1Turn {
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		dir = path
	}
	name := filepath.Base(filepath.Dir(dir)) // w1_bus_master1
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buses == nil {
		b.buses = map[string]*w1Turn{}
	}
	if b.buses[name] == nil {
		b.buses[name] = &w1Turn{name: name, token: make(chan struct{}, 1)}
	}
	return b.buses[name]
}

// take waits for the part's turn as long as the parts before it come back. The
// time of the call stands still meanwhile.
func (b *w1Turn) take(ctx context.Context, id string) error {
	served := sensors.Waiting(ctx)
	defer served()
	for {
		holder, left := b.holder()
		timer := time.NewTimer(left)
		select {
		case b.token <- struct{}{}:
			timer.Stop()
			b.mu.Lock()
			defer b.mu.Unlock()
			b.id, b.since = id, time.Now()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if again, left := b.holder(); again == holder && left <= 0 {
			return fmt.Errorf("%s is busy: %s has not returned for %v", b.name, again, (w1Stuck - left).Truncate(time.Second))
		}
	}
}

// holder is who has the turn, and for how long it may have it yet.
func (b *w1Turn) holder() (id string, left time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.id == "" {
		return "", w1Stuck // it has just been given back, or taken
	}
	return b.id, w1Stuck - time.Since(b.since)
}

// done gives the turn back.
func (b *w1Turn) done() {
	b.mu.Lock()
	b.id = ""
	b.mu.Unlock()
	<-b.token
}

// readInTurn measures when it is the part's turn. One with a supply of its own
// needs none: the kernel leaves the bus to others while it measures (w1_therm.c).
func (s *w1) readInTurn(ctx context.Context) (w1Reading, error) {
	if s.external {
		return s.read()
	}
	if err := s.bus.take(ctx, s.id); err != nil {
		return w1Reading{}, err
	}
	defer s.bus.done()
	r, err := s.read()
	if err == nil {
		supply, _ := s.file(filepath.Join(s.dir, "ext_power")) // since Linux 5.10
		s.external = supply == "1"
	}
	return r, err
}
