package work

import (
	"context"
	"os"
	"runtime/debug"
)

// hold opens the store as an agent would, uses it a little, and measures the memory of the
// process after Go has returned what it can.
func hold(ctx context.Context, j Job) (Result, error) {
	return with(ctx, j, func(s store) (Result, error) {
		r := Result{Readings: s.backlog()}
		src := newSource(4)
		for range 100 {
			if err := s.put(src.next()); err != nil {
				return r, err
			}
		}
		if _, err := s.take(ctx, window); err != nil {
			return r, err
		}
		debug.FreeOSMemory()
		debug.FreeOSMemory() // memory that finalizers have freed meanwhile
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return r, err
		}
		if r.RssAnon, err = kib(string(text), "RssAnon:"); err != nil {
			return r, err
		}
		r.RssFile, err = kib(string(text), "RssFile:")
		return r, err
	})
}

func kib(text, name string) (bytes int64, err error) {
	n, err := field(text, name)
	return n << 10, err
}
