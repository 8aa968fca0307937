package work

import (
	"context"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// settle is long enough for all delayed writes: the last group, the cursor of an idle
// queue, the file that is written again.
const settle = 150 * time.Second

// with opens the job's store, and closes it.
func with(ctx context.Context, j Job, do func(store) (Result, error)) (r Result, err error) {
	s, err := open(ctx, j)
	if err != nil {
		return r, err
	}
	defer func() {
		if closeErr := s.close(); err == nil {
			err = closeErr
		}
	}()
	return do(s)
}

// fill leaves a backlog, and counts its pages.
func fill(ctx context.Context, j Job) (Result, error) {
	r, err := outage(ctx, j)
	if err != nil {
		return r, err
	}
	r.InUse, err = PagesInUse(filepath.Join(j.Dir, file))
	return r, err
}

// outage puts readings without taking any.
func outage(ctx context.Context, j Job) (Result, error) {
	return with(ctx, j, func(s store) (Result, error) {
		return counted(ctx, j, s, func() error {
			src := newSource(2)
			if err := src.each(j.N, j.Rate, func() error { return s.put(src.next()) }); err != nil {
				return err
			}
			time.Sleep(2 * syncEvery) // the last group
			return nil
		})
	})
}

// linkWell puts readings that are acknowledged after a round trip.
func linkWell(ctx context.Context, j Job) (Result, error) {
	return acknowledged(ctx, j, func(src *source, s store) error { return s.put(src.next()) })
}

// alarms puts alarms that are acknowledged after a round trip.
func alarms(ctx context.Context, j Job) (Result, error) {
	return acknowledged(ctx, j, func(src *source, s store) error { return s.put(src.alarm()) })
}

func acknowledged(ctx context.Context, j Job, put func(*source, store) error) (Result, error) {
	return with(ctx, j, func(s store) (Result, error) {
		return counted(ctx, j, s, func() error {
			src := newSource(2)
			err := src.each(j.N, j.Rate, func() error {
				if err := put(src, s); err != nil {
					return err
				}
				time.Sleep(roundTrip)
				_, err := s.take(ctx, 1)
				return err
			})
			if !j.Real {
				time.Sleep(settle)
			}
			return err
		})
	})
}

// drain takes this many readings of a backlog, one window per round trip.
func drain(ctx context.Context, j Job) (Result, error) {
	return with(ctx, j, func(s store) (Result, error) {
		return counted(ctx, j, s, func() error {
			for left := j.N; left > 0; {
				n, err := s.take(ctx, min(left, window))
				if err != nil {
					return err
				}
				left -= n
				time.Sleep(farTrip)
			}
			time.Sleep(settle)
			return nil
		})
	})
}

// PagesInUse asks bbolt, because the file is larger, and never gets smaller.
func PagesInUse(path string) (bytes int64, err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		free := db.Stats().FreePageN + db.Stats().PendingPageN
		bytes = tx.Size() - int64(free)*int64(db.Info().PageSize)
		return nil
	})
	return bytes, err
}
