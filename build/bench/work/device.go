package work

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// counted does the work and counts the bytes that it passes to the kernel, and the bytes
// that the file system writes to the device.
func counted(ctx context.Context, j Job, s store, do func() error) (Result, error) {
	before, err := look(j)
	if err != nil {
		return Result{}, err
	}
	commits := s.commits()
	stop := startTimers(ctx, j)
	err = do()
	err = errors.Join(err, stop())
	after, lookErr := look(j)
	return Result{
		Readings: j.N,
		Commits:  s.commits() - commits,
		Handed:   after.handed - before.handed,
		Written:  after.written - before.written,
	}, errors.Join(err, lookErr)
}

// totals are counts since the start of the process, and since the creation of the device.
type totals struct{ handed, written int64 }

// look syncs the whole file system first, so that no write is pending.
func look(j Job) (t totals, err error) {
	if j.Device == "" {
		return t, nil
	}
	if err := syncFileSystem(j.Dir); err != nil {
		return t, err
	}
	text, err := os.ReadFile(filepath.Join("/sys/block", j.Device, "stat"))
	if err != nil {
		return t, err
	}
	if t.written, err = bytesWritten(string(text)); err != nil {
		return t, err
	}
	if text, err = os.ReadFile("/proc/self/io"); err != nil {
		return t, err
	}
	t.handed, err = field(string(text), "wchar:")
	return t, err
}

// bytesWritten reads /sys/block/*/stat: the seventh number counts the sectors
// written, always of 512 bytes (kernel documentation, block/stat).
func bytesWritten(stat string) (int64, error) {
	f := strings.Fields(stat)
	if len(f) < 7 {
		return 0, fmt.Errorf("device statistics have %d numbers, want at least 7", len(f))
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	return sectors * 512, err
}

// field is the number after a name in a file of /proc.
func field(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				return strconv.ParseInt(f[0], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("no %s", name)
}

func syncFileSystem(dir string) error {
	if out, err := exec.Command("sync", "-f", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("sync -f %s: %w: %s", dir, err, out)
	}
	return nil
}
