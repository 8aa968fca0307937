package work

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	journalDelay = 5 * time.Second  // ext4's default commit interval
	writeback    = 30 * time.Second // vm.dirty_expire_centisecs
	lookEvery    = 250 * time.Millisecond
)

// startTimers does, in simulated time, what the kernel does by its own clock. A write
// changes the times in the file's inode, and so a transaction of ext4's journal, which is
// committed 5 s after it has started; committed blocks are written to their places after 30
// s. Without this, simulated time would favour stores that sync only their data. The
// returned function stops the timers and waits for them.
func startTimers(ctx context.Context, j Job) (stop func() error) {
	if j.Real || j.Device == "" {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- runTimers(ctx, j) }()
	return func() error {
		cancel()
		return <-done
	}
}

func runTimers(ctx context.Context, j Job) error {
	path := filepath.Join(j.Dir, file)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var committed, began time.Time // the file's time in the journal; the start of the transaction
	wroteBack := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		switch changed := !info.ModTime().Equal(committed); {
		case changed && began.IsZero():
			began = time.Now()
		case changed && time.Since(began) >= journalDelay:
			if err := commitJournal(path); err != nil {
				return err
			}
			committed, began = info.ModTime(), time.Time{}
		}
		if time.Since(wroteBack) >= writeback {
			if err := syncFile(filepath.Join("/dev", j.Device)); err != nil {
				return err
			}
			wroteBack = time.Now()
		}
	}
}

// commitJournal makes ext4 commit the transaction that contains the file's inode.
func commitJournal(path string) error {
	// The kernel's clock for file times ticks every few ms: if simulated seconds pass faster,
	// the time of the file would not change.
	pause := syscall.NsecToTimespec(int64(10 * time.Millisecond))
	if err := syscall.Nanosleep(&pause, nil); err != nil && err != syscall.EINTR {
		return err
	}
	return syncFile(path)
}

// syncFile opens the file each time: the store may have replaced it.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
