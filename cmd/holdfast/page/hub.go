package page

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

const (
	maxViewers = 32          // pages that are open at a time
	beat       = time.Second // between two changes
	feedRoom   = 4           // changes that a viewer may be behind
)

// A hub tells all open pages what changes, once a second. It takes one snapshot for
// all of them, and none while there are none: its goroutine runs only while
// somebody looks.
//
// mu guards viewers and stop. A feed is closed under mu, by tell alone, and only while
// it is in viewers: so it is closed once at most, and never while something is sent.
type hub struct {
	node Node
	done sync.WaitGroup // of the goroutine

	mu      sync.Mutex
	viewers map[chan []byte]bool
	stop    context.CancelFunc // of the goroutine; nil: nobody looks
}

// newHub returns a hub that does nothing until somebody joins.
func newHub(node Node) *hub { return &hub{node: node, viewers: map[chan []byte]bool{}} }

// join returns a feed of changes; it is closed when the viewer is too slow. The feed is
// nil if there are too many. leave has to be called once for each feed that is not nil,
// closed or not.
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

// leave takes a viewer off. The last one ends the goroutine, which then takes no
// snapshot any more.
func (h *hub) leave(feed chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, feed)
	if len(h.viewers) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// wait waits for the goroutine, when the last viewer has left. It is called when no
// more requests are taken, so that no viewer joins meanwhile.
func (h *hub) wait() { h.done.Wait() }

// run sends changes until ctx is done: when nobody looks any more. The first change has
// all streams, as it is compared with an empty snapshot.
func (h *hub) run(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var last status.Snapshot // a viewer that came since has all of it, and learns some of it twice
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := h.node.Snapshot(false)
		if data, err := json.Marshal(changes(last, now)); err == nil { // else a page waits for the next
			h.tell(data)
			last = now
		}
	}
}

// tell gives a change to every viewer. It never waits: one page that hangs must not
// hold up the others. A viewer that is feedRoom changes behind is taken off.
func (h *hub) tell(data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for feed := range h.viewers {
		select {
		case feed <- data:
		default: // it connects again, and gets a whole snapshot
			close(feed)
			delete(h.viewers, feed)
		}
	}
}

// changes is a snapshot with only those streams that are not as they were, and with
// events only if there are new ones: null is no news. A stream counts as changed if it
// has a new reading or another error; its age is the viewer's to compute. Neither
// snapshot is modified.
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
