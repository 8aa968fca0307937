package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// runningName is the file with a copy of the running configuration, beside the queue.
// `holdfast outputs safe` needs it: the configuration file may have been edited since it
// was read, and may be invalid now or lack an output that is on.
const runningName = "running.yaml"

// copyTimeout is how long outputs wait until the copy is written: a disk that hangs must
// not prevent a siren from starting.
const copyTimeout = time.Second

// A runningCopy writes the copy. save is called by one goroutine at a time.
type runningCopy struct {
	write func(config.Config) error // writeRunning, except in tests
	log   *slog.Logger

	writing chan struct{} // holds a token during a write, which may hang
	mu      sync.Mutex
	latest  config.Config // guarded by mu
}

func newRunningCopy(write func(config.Config) error, log *slog.Logger) *runningCopy {
	return &runningCopy{write: write, log: log, writing: make(chan struct{}, 1)}
}

// save writes the copy before the outputs of cfg start; without outputs it removes it. The
// copy is not synced, because no output is on after a power cut. If the disk hangs, save
// returns after copyTimeout, and the write continues.
func (c *runningCopy) save(cfg config.Config) {
	c.mu.Lock()
	c.latest = cfg
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A write that hung may end after the next call of save. So writes wait for each
		// other, and each writes the latest configuration.
		c.writing <- struct{}{}
		defer func() { <-c.writing }()
		c.mu.Lock()
		latest := c.latest
		c.mu.Unlock()
		if err := c.write(latest); err != nil {
			c.log.Warn("the configuration that runs cannot be kept: holdfast outputs safe needs the file as it is now",
				"err", err)
		}
	}()
	waitFor(done, copyTimeout)
}

// writeRunning writes the copy, or removes it if there are no outputs.
func writeRunning(cfg config.Config) error {
	to := filepath.Join(filepath.Dir(cfg.Queue.Path), runningName)
	if len(cfg.Outputs) == 0 || cfg.Text == nil {
		if err := os.Remove(to); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := runningText(cfg)
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(to); err == nil && bytes.Equal(was, text) {
		return nil // saves a write to the memory card at each start
	}
	if err := os.WriteFile(to+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// runningText returns the text of the copy: a comment with the path, and the file.
func runningText(cfg config.Config) ([]byte, error) {
	header, err := runningHeader(cfg.Path)
	return append(header, cfg.Text...), err
}

// runningHeader returns the first line of the copy. It has the path of the file, because
// another agent on the machine has another file.
func runningHeader(path string) ([]byte, error) {
	path, err := filepath.Abs(path)
	return fmt.Appendf(nil, "# what the agent has read from %q last\n", path), err
}

// loadRunning returns the copy of the configuration that the agent of this file ran last;
// it is empty if that had no outputs. cfg is the present file; it is empty if the file is
// invalid.
func loadRunning(cfg config.Config, path string) config.Config {
	folders := []string{os.Getenv("STATE_DIRECTORY"), filepath.Dir(config.DefaultQueue)} // systemd sets the first
	if cfg.Queue.Path != "" {
		folders = slices.Insert(folders, 0, filepath.Dir(cfg.Queue.Path))
	}
	header, err := runningHeader(path)
	if err != nil {
		return config.Config{}
	}
	for _, folder := range folders {
		text, err := readOwn(filepath.Join(folder, runningName))
		if folder == "" || err != nil || !bytes.HasPrefix(text, header) {
			continue
		}
		if running, err := config.Parse(runningName, text); err == nil {
			return running
		}
	}
	return config.Config{}
}

// readOwn reads a regular file that belongs to the calling user. It refuses a file of
// another user: a configuration names commands, and root must not run those of the agent's
// user.
func readOwn(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return nil, errors.New("is not a file of this user alone")
	}
	return io.ReadAll(io.LimitReader(f, 2<<20))
}

// makeAllSafe sets the outputs of two configurations to their safe levels: first those that
// ran and have changed in the file since, then those of the file.
func makeAllSafe(ctx context.Context, ran, now []outputs.Spec, open outputs.Open) (count int, err error) {
	changed := slices.DeleteFunc(slices.Clone(ran), func(was outputs.Spec) bool {
		return slices.ContainsFunc(now, func(is outputs.Spec) bool { return reflect.DeepEqual(was, is) })
	})
	// Sequentially: both may use the same line.
	err = outputs.MakeSafe(ctx, changed, open)
	return len(changed) + len(now), errors.Join(err, outputs.MakeSafe(ctx, now, open))
}
