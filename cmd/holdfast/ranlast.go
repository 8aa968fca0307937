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
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// ranName is the copy of the configuration that runs, beside the queue. `holdfast outputs safe`
// needs it: the file itself may have been edited since it was read, and be wrong now or lack an
// output that is on.
const ranName = "running.yaml"

// copyTimeout is how long outputs wait for the copy to be written: a disk that hangs must not
// keep a siren from starting.
const copyTimeout = time.Second

// keepRan writes the copy before the outputs of cfg start, unless there are none. It is not
// synced: after a power cut no output is on.
func keepRan(cfg config.Config, log *slog.Logger) {
	done := make(chan struct{})
	go func() { // it is left behind if the disk hangs
		defer close(done)
		if err := writeRan(cfg); err != nil {
			log.Warn("the configuration that runs cannot be kept: holdfast outputs safe needs the file as it is now",
				"err", err)
		}
	}()
	waitFor(done, copyTimeout)
}

func writeRan(cfg config.Config) error {
	to := filepath.Join(filepath.Dir(cfg.Queue.Path), ranName)
	if len(cfg.Outputs) == 0 || cfg.Text == nil {
		if err := os.Remove(to); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := ranText(cfg)
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(to); err == nil && bytes.Equal(was, text) {
		return nil // a memory card is not written to at each start
	}
	if err := os.WriteFile(to+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// ranText is the text of the copy: a comment that names the file, and the file.
func ranText(cfg config.Config) ([]byte, error) {
	head, err := ranHead(cfg.Path)
	return append(head, cfg.Text...), err
}

// ranHead is how the copy of a file begins. Another agent on the machine has another file.
func ranHead(path string) ([]byte, error) {
	path, err := filepath.Abs(path)
	return fmt.Appendf(nil, "# what the agent has read from %q last\n", path), err
}

// ranLast returns the configuration that the agent of this file ran last, as far as it had
// outputs; else it is empty. cfg is what the file says now; empty: it is wrong.
func ranLast(cfg config.Config, path string) config.Config {
	folders := []string{os.Getenv("STATE_DIRECTORY"), filepath.Dir(config.DefaultQueue)} // the first is of systemd's
	if cfg.Queue.Path != "" {
		folders = slices.Insert(folders, 0, filepath.Dir(cfg.Queue.Path))
	}
	head, err := ranHead(path)
	if err != nil {
		return config.Config{}
	}
	for _, folder := range folders {
		text, err := readOwn(filepath.Join(folder, ranName))
		if folder == "" || err != nil || !bytes.HasPrefix(text, head) {
			continue
		}
		if ran, err := config.Parse(ranName, text); err == nil {
			return ran
		}
	}
	return config.Config{}
}

// readOwn reads a regular file that belongs to the user that asks. That of another user counts
// as none: a configuration names commands, and root must not run those of the agent's user.
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

// makeAllSafe makes the outputs of two configurations safe: first those that ran and are not the
// same in the file now, then those of the file.
func makeAllSafe(ctx context.Context, ran, now []outputs.Spec, open outputs.Open) (count int, err error) {
	changed := slices.DeleteFunc(slices.Clone(ran), func(was outputs.Spec) bool {
		return slices.ContainsFunc(now, func(is outputs.Spec) bool { return reflect.DeepEqual(was, is) })
	})
	// One after the other: both may have the same line.
	err = outputs.MakeSafe(ctx, changed, open)
	return len(changed) + len(now), errors.Join(err, outputs.MakeSafe(ctx, now, open))
}
