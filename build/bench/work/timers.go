package work

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	journalEvery   = 5 * time.Second  // ext4's default commit interval
	writebackEvery = 30 * time.Second // vm.dirty_expire_centisecs
)

// startTimers does, in simulated time, what the kernel does by its own clock:
// every 5 s ext4 commits its journal, in which the file's new times are, and
// after 30 s the inode itself is written back. Without them simulated time
// would flatter every store that syncs its data alone. The function returned
// stops the timers and waits for them.
func startTimers(ctx context.Context, j Job) (stop func() error) {
	if j.Real || j.Stat == "" {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- runTimers(ctx, j.Dir) }()
	return func() error {
		cancel()
		return <-done
	}
}

func runTimers(ctx context.Context, dir string) error {
	tick := time.NewTicker(journalEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := commitJournal(filepath.Join(dir, file)); err != nil {
			return err
		}
		if n%int(writebackEvery/journalEvery) == 0 {
			if err := syncFileSystem(dir); err != nil {
				return err
			}
		}
	}
}

// commitJournal makes ext4 commit the transaction that holds the file's inode.
// It opens the file each time: the store may have made it anew.
func commitJournal(path string) error {
	// The kernel's clock for file times moves every few ms: simulated seconds
	// that pass faster would leave the time of the file as it was.
	pause := syscall.NsecToTimespec(int64(10 * time.Millisecond))
	if err := syscall.Nanosleep(&pause, nil); err != nil && err != syscall.EINTR {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
