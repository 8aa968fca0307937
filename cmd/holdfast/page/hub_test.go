package page

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
)

// TestNoSnapshotsWithoutViewers counts the snapshots.
func TestNoSnapshotsWithoutViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &plainNode{}
		h := newHub(node)
		time.Sleep(time.Minute)
		if n := node.asked.Load(); n != 0 {
			t.Errorf("%d snapshots before anybody looked", n)
		}
		var leaves []func()
		for range 10 {
			feed, leave := h.join()
			leaves = append(leaves, leave)
			go func() {
				for range feed {
				}
			}()
			defer close(feed)
		}
		time.Sleep(time.Minute + time.Millisecond)
		if n := node.asked.Load(); n != 60 {
			t.Errorf("%d snapshots in a minute for ten viewers, want 60", n)
		}
		for _, leave := range leaves {
			leave()
		}
		h.wait() // the goroutine has ended
		time.Sleep(time.Minute)
		if n := node.asked.Load(); n != 60 {
			t.Errorf("%d snapshots more after all have left", n-60)
		}
	})
}

func TestSlowViewerIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(&plainNode{})
		feed, leave := h.join()
		time.Sleep(time.Minute)
		n := 0
		for range feed { // it is closed
			n++
		}
		if n != feedRoom {
			t.Errorf("%d changes, want %d", n, feedRoom)
		}
		leave()
		h.wait()
	})
}

func TestNumberOfViewersIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(&plainNode{})
		var leaves []func()
		for range maxViewers {
			_, leave := h.join()
			leaves = append(leaves, leave)
		}
		if feed, _ := h.join(); feed != nil {
			t.Error("one more is let in")
		}
		for _, leave := range leaves {
			leave()
		}
		if feed, leave := h.join(); feed == nil {
			t.Error("nobody is let in after all have left")
		} else {
			leave()
		}
		h.wait()
	})
}

func TestChangesOmitUnchangedStreams(t *testing.T) {
	one := status.Event{Seq: 1, Name: "fault"}
	was := status.Snapshot{Streams: []status.Stream{{Name: "a", Seq: 1}, {Name: "b", Seq: 1}, {Name: "c", Seq: 1}},
		Events: []status.Event{one}}
	now := status.Snapshot{Events: []status.Event{one},
		Streams: []status.Stream{{Name: "a", Seq: 1}, {Name: "b", Seq: 2}, {Name: "c", Seq: 1, Error: "x"}}}
	got := changes(was, now)
	if len(got.Streams) != 2 || got.Streams[0].Name != "b" || got.Streams[1].Name != "c" || got.Events != nil {
		t.Errorf("%+v", got)
	}
	now.Events = append(now.Events, status.Event{Seq: 2, Name: "recovered"})
	if got := changes(was, now); len(got.Events) != 2 {
		t.Errorf("%+v", got.Events)
	}
	if got := changes(status.Snapshot{}, now); len(got.Streams) != 3 || len(got.Events) != 2 {
		t.Errorf("first: %+v", got)
	}
}
