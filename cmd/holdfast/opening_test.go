package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
)

// A slowDisk is a log whose first line waits until the disk answers: opening the queue logs
// a backlog of another client ID while it has the file locked.
type slowDisk struct {
	slog.Handler
	reached chan struct{}
	answers chan struct{}
}

func (d slowDisk) Enabled(context.Context, slog.Level) bool { return true }

func (d slowDisk) Handle(context.Context, slog.Record) error {
	close(d.reached)
	<-d.answers
	return nil
}

// TestAReloadWhileTheQueueOpens: a reload gives up an opening that takes long. The next
// configuration has the same file, and opens it when the first one has let go of it.
func TestAReloadWhileTheQueueOpens(t *testing.T) {
	opt := queue.Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 1 << 20, SyncEvery: time.Second}
	if err := os.WriteFile(opt.Path+".of-other-20260101T000000.000", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		disk := slowDisk{slog.DiscardHandler, make(chan struct{}), make(chan struct{})}
		var o opener
		ctx, reload := context.WithCancel(t.Context())
		first := make(chan error)
		go func() { _, err := o.open(ctx, opt, slog.New(disk)); first <- err }()
		<-disk.reached
		reload()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		// A second reload comes while the disk is still busy.
		ctx, reload = context.WithCancel(t.Context())
		go func() { _, err := o.open(ctx, opt, slog.New(slog.DiscardHandler)); first <- err }()
		synctest.Wait()
		reload()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}

		time.AfterFunc(time.Minute, func() { close(disk.answers) })
		q, err := o.open(t.Context(), opt, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		if q.UncleanStart() != 0 {
			t.Errorf("start %s says that %d crashed", q.Boot(), q.UncleanStart())
		}
	})
}

// TestAStopWhileTheQueueOpensHasTheQueue: the disk answers in time, so the caller ends the queue in the
// usual way, and what it had from the one before is not lost.
func TestAStopWhileTheQueueOpensHasTheQueue(t *testing.T) {
	opt := queue.Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 1 << 20, SyncEvery: time.Second}
	if err := os.WriteFile(opt.Path+".of-other-20260101T000000.000", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		disk := slowDisk{slog.DiscardHandler, make(chan struct{}), make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			<-disk.reached
			stop()
			time.Sleep(closeTimeout / 2)
			close(disk.answers)
		}()
		var o *opener
		q, err := o.open(ctx, opt, slog.New(disk))
		if err != nil {
			t.Fatal(err)
		}
		q.Close()
	})
}
