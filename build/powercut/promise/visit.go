package promise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

// File is the name of a queue's file in its folder.
const File = "queue.db"

// waitLimit limits one wait for a queue that has items.
const waitLimit = 10 * time.Second

// Options are the options of every queue here, except the time.
func Options(dir string, syncEvery time.Duration, clientID string) queue.Options {
	return queue.Options{Path: filepath.Join(dir, File), MaxSize: 64 << 20, SyncEvery: syncEvery, ClientID: clientID}
}

// Drain opens the queue in a folder as an agent does after a power cut, takes out all items
// and closes it. Items of a backlog of another client ID, which was moved aside, come
// first. Violations that need no ledger are returned too.
func Drain(dir string, syncEvery time.Duration, clientID string) (items []queue.Item, found []Violation) {
	var log errorLog
	before, _ := os.Stat(filepath.Join(dir, File))
	opt := Options(dir, syncEvery, clientID)
	q, err := Start(opt, slog.New(&log))
	if err != nil {
		return nil, []Violation{{Refused, err.Error()}}
	}
	items, err = others(opt.Path)
	all, failed := q.empty()
	items, err = append(items, all...), errors.Join(err, failed)
	if err := errors.Join(err, q.Stop()); err != nil {
		found = append(found, Violation{Refused, err.Error()})
	}
	if name := aside(dir, before); name != "" {
		found = append(found, Violation{Aside, name})
		if !hasEvent(items) {
			found = append(found, Violation{Silent, "no event says that the file was moved to " + name})
		}
	}
	return items, append(found, log.errors...)
}

// Reuse tests that a queue that was opened after a cut works: an alarm that is put now
// exists at the next start, and nothing else does.
func Reuse(dir string, syncEvery time.Duration, clientID string, alarm sensors.Reading) []Violation {
	q, err := Start(Options(dir, syncEvery, clientID), slog.New(slog.DiscardHandler))
	if err != nil {
		return []Violation{{Refused, fmt.Sprint("second start: ", err)}}
	}
	l := Open()
	began := Beginning(q.Boot(), alarm)
	l.Note(began)
	q.Put(alarm)
	l.Note(began.End())
	if err := q.Stop(); err != nil {
		return []Violation{{Refused, fmt.Sprint("second stop: ", err)}}
	}
	items, found := Drain(dir, syncEvery, clientID)
	if clientID != "" {
		items = slices.DeleteFunc(items, func(it queue.Item) bool { return it.Boot != q.Boot() }) // of another start
	}
	return append(found, l.Check(items, 0, syncEvery)...)
}

// others are the items in files of other client IDs.
func others(path string) (items []queue.Item, err error) {
	for _, o := range queue.Others(path) {
		c, failed := queue.Inspect(o.Path, func(it queue.Item) error { items = append(items, it); return nil })
		err = errors.Join(err, failed)
		for _, g := range c.Gaps {
			details, failed := json.Marshal(g)
			items, err = append(items, queue.Item{Event: "gap", Details: string(details)}), errors.Join(err, failed)
		}
	}
	return items, err
}

// A Running is an open queue whose Run is running.
type Running struct {
	*queue.Queue
	stop context.CancelFunc
	done chan struct{}
}

// Start opens a queue and runs it.
func Start(opt queue.Options, log *slog.Logger) (*Running, error) {
	q, err := queue.Open(opt, log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Running{Queue: q, stop: cancel, done: make(chan struct{})}
	go func() { q.Run(ctx); close(r.done) }()
	return r, nil
}

// Stop ends Run and closes the queue.
func (r *Running) Stop() error {
	r.stop()
	<-r.done
	return r.Close()
}

func (r *Running) empty() (all []queue.Item, err error) {
	for r.Stats().Backlog > 0 {
		items, err := r.Take(1000)
		if err == nil {
			err = r.Ack(items)
		}
		if err != nil {
			return all, err
		}
		all = append(all, items...)
	}
	return r.emptyAside(all)
}

// emptyAside also takes out what was set aside.
func (r *Running) emptyAside(all []queue.Item) ([]queue.Item, error) {
	items, err := r.Rejected(&queue.Cursor{}, 1<<20)
	if err == nil {
		err = r.Ack(items)
	}
	return append(all, items...), err
}

// Take returns the oldest items of a queue that is not empty, and waits for them.
func (r *Running) Take(limit int) ([]queue.Item, error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	for {
		items, err := r.Peek(&queue.Cursor{}, limit)
		if len(items) > 0 {
			return items, nil
		}
		if err == nil {
			select {
			case <-r.Arrived():
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		return nil, fmt.Errorf("take from a backlog of %d: %w", r.Stats().Backlog, err)
	}
}

// aside is the new name of a file that was moved aside, or "".
func aside(dir string, before fs.FileInfo) string {
	entries, err := os.ReadDir(dir)
	if before == nil || err != nil {
		return ""
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.Name() != File && os.SameFile(before, info) {
			return e.Name()
		}
	}
	return ""
}

// errorLog stores errors that are logged.
type errorLog struct {
	mu     sync.Mutex
	errors []Violation
}

func (l *errorLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (l *errorLog) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *errorLog) WithGroup(string) slog.Handler                    { return l }

func (l *errorLog) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, Violation{Complaint, text})
	return nil
}
