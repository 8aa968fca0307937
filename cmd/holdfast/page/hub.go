package page

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

const (
	maxViewers  = 32          // pages that are open at the same time
	updateEvery = time.Second // between two changes
	feedRoom    = 4           // changes that a viewer may be behind
)

// A hub sends changes to all open pages, once a second. It takes one snapshot for all of
// them, and none while no page is open: its goroutine runs only while there are viewers.
//
// mu guards viewers and stop. Only broadcast closes a feed, under mu and while the feed is
// in viewers: so it is closed once at most, and never during a send.
type hub struct {
	node Node
	done sync.WaitGroup // of the goroutine

	mu      sync.Mutex
	viewers map[chan []byte]bool
	stop    context.CancelFunc // of the goroutine; nil: there are no viewers
}

// newHub returns a hub without viewers.
func newHub(node Node) *hub { return &hub{node: node, viewers: map[chan []byte]bool{}} }

// join returns a feed of changes, which is closed when the viewer is too slow. The feed is
// nil if there are too many viewers. leave has to be called once for each feed that is not
// nil, even if it was closed.
func (h *hub) join() (feed chan []byte, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.viewers) >= maxViewers {
		return nil, nil
	}
	feed = make(chan []byte, feedRoom)
	h.viewers[feed] = true
	if h.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		h.stop = stop
		h.done.Go(func() { h.run(ctx) })
	}
	return feed, func() { h.leave(feed) }
}

// leave removes a viewer. The last one stops the goroutine, which then takes no more
// snapshots.
func (h *hub) leave(feed chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, feed)
	if len(h.viewers) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// wait waits for the goroutine after the last viewer has left. It is called when no more
// requests are accepted, so no viewer joins meanwhile.
func (h *hub) wait() { h.done.Wait() }

// run sends changes until ctx is done, which happens when the last viewer leaves. The first
// change contains all streams, because it is compared with an empty snapshot.
func (h *hub) run(ctx context.Context) {
	tick := time.NewTicker(updateEvery)
	defer tick.Stop()
	var last status.Snapshot // a viewer that joined later gets some of it twice
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := h.node.Snapshot(false)
		if data, err := json.Marshal(changes(last, now)); err == nil { // on an error the page waits for the next one
			h.broadcast(data)
			last = now
		}
	}
}

// broadcast sends a change to every viewer without waiting: one page that hangs must not
// delay the others. It removes a viewer that is feedRoom changes behind.
func (h *hub) broadcast(data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for feed := range h.viewers {
		select {
		case feed <- data:
		default: // it reconnects and gets a whole snapshot
			close(feed)
			delete(h.viewers, feed)
		}
	}
}

// changes is a snapshot with only the streams that have changed, and with events only if
// there are new ones; null means no change. A stream has changed if it has a new reading or
// another error; the viewer computes ages itself. Neither snapshot is modified.
func changes(last, now status.Snapshot) status.Snapshot {
	was := make(map[string]*status.Stream, len(last.Streams))
	for i := range last.Streams {
		was[last.Streams[i].Name] = &last.Streams[i]
	}
	changed := now
	changed.Streams = []status.Stream{}
	for _, s := range now.Streams {
		if w := was[s.Name]; w == nil || w.Seq != s.Seq || w.Error != s.Error {
			changed.Streams = append(changed.Streams, s)
		}
	}
	if newest(now) == newest(last) {
		changed.Events = nil
	}
	return changed
}

// newest is the number of the last event; 0: there is none.
func newest(s status.Snapshot) uint64 {
	if n := len(s.Events); n > 0 {
		return s.Events[n-1].Seq
	}
	return 0
}
