package main

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/config"
)

// TestHangingWriteIsFollowedByTheLatestCopy: the disk hangs during the first of three
// writes. The others wait for its end, and then the file has the latest configuration.
func TestHangingWriteIsFollowedByTheLatestCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, writing, written := make(chan struct{}), 0, []string(nil)
		c := newRunningCopy(func(cfg config.Config) error {
			writing++
			if writing > 1 {
				t.Error("two writes at a time")
			}
			<-release
			writing--
			written = append(written, cfg.Path)
			return nil
		}, slog.New(slog.DiscardHandler))
		began := time.Now()
		for _, path := range []string{"first", "second", "third"} {
			c.save(config.Config{Path: path})
		}
		if waited := time.Since(began); waited != 3*copyTimeout {
			t.Errorf("three reloads waited %v for the disk", waited)
		}
		close(release)
		synctest.Wait()
		if want := []string{"first", "third", "third"}; !slices.Equal(written, want) {
			t.Errorf("written: %v, want %v", written, want)
		}
	})
}
