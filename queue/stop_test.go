package queue

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A heldHandler holds the goroutine that logs the first line until release is closed.
type heldHandler struct {
	slog.Handler
	reached chan struct{}
	release chan struct{}
}

func (h heldHandler) Handle(context.Context, slog.Record) error {
	h.reached <- struct{}{}
	<-h.release
	return nil
}

func (h heldHandler) Enabled(context.Context, slog.Level) bool { return true }

// TestAStopWhileOpeningIsNoCrash: opening takes long, and the process is told to stop three
// times before it is over. The file is intact, so nothing is quarantined.
func TestAStopWhileOpeningIsNoCrash(t *testing.T) {
	opt := Options{Path: queuePath(t), MaxSize: 1 << 20, SyncEvery: time.Second}
	if err := os.WriteFile(opt.Path, filled(t, 1, 10), 0o600); err != nil {
		t.Fatal(err)
	}
	// A backlog of another client ID is logged while the marker is there.
	if err := os.WriteFile(opt.Path+".of-other-20260101T000000.000", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if len(Others(opt.Path)) != 1 {
		t.Fatal("nothing is logged")
	}
	marked := func() bool { _, err := os.Stat(opt.Path + ".opening"); return err == nil }
	for range crashesToQuarantine + 1 {
		synctest.Test(t, func(t *testing.T) {
			held := heldHandler{slog.DiscardHandler, make(chan struct{}), make(chan struct{})}
			ctx, stop := context.WithCancel(t.Context())
			opened := make(chan *Queue)
			go func() {
				q, err := OpenContext(ctx, opt, slog.New(held))
				if err != nil {
					t.Error(err)
				}
				opened <- q
			}()
			<-held.reached
			if !marked() {
				t.Error("no marker during the opening")
			}
			stop()
			synctest.Wait()
			if marked() { // the process may end here
				t.Error("the next start would count a crash")
			}
			close(held.release)
			if q := <-opened; q != nil {
				if n := q.Stats().Backlog; n != 11 {
					t.Errorf("%d readings, want 11", n)
				}
				q.Close()
			}
		})
	}
}

// TestAStopBeforeOpeningLeavesNothing: neither a marker nor a lock, and the start is not counted.
func TestAStopBeforeOpeningLeavesNothing(t *testing.T) {
	opt := Options{Path: queuePath(t), MaxSize: 1 << 20, SyncEvery: time.Second}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := OpenContext(ctx, opt, slog.New(slog.DiscardHandler)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	h := startWith(t, opt)
	defer h.end()
	if h.Boot()[:2] != "1-" || h.UncleanStart() != 0 {
		t.Errorf("start %s, unclean %d", h.Boot(), h.UncleanStart())
	}
}

// A markerLog notes whether the marker of an opening is there when a line is logged.
type markerLog struct {
	slog.Handler
	path   string
	marked []bool // for each line
}

func (l *markerLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *markerLog) Handle(context.Context, slog.Record) error {
	_, err := os.Stat(l.path + ".opening")
	l.marked = append(l.marked, err == nil)
	return nil
}

// TestReopeningAfterAStopIsNoCrash: the file is opened again while the process ends, because the
// disk has failed. It may hang, and the process does not wait for it.
func TestReopeningAfterAStopIsNoCrash(t *testing.T) {
	opt := Options{Path: queuePath(t), MaxSize: 1 << 20, SyncEvery: time.Second}
	// A backlog of another client ID is logged at each opening.
	if err := os.WriteFile(opt.Path+".of-other-20260101T000000.000", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &markerLog{Handler: slog.DiscardHandler, path: opt.Path}
	ctx, stop := context.WithCancel(t.Context())
	q, err := OpenContext(ctx, opt, slog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := errors.Join(q.opened.file.close(), writer{q}.openFile(), q.Close()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(log.marked, []bool{true, false}) {
		t.Errorf("a marker during each opening: %v", log.marked)
	}
}
