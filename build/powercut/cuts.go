package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

const (
	livesPerSeed  = 4
	imagesPerLife = 125
	workers       = 2
	recordTime    = 2 * time.Minute // limit for one recording
)

// A batch is some images of one recorded life.
type batch struct {
	seed   uint64
	life   int
	path   string // of the recording
	images int
	lies   bool // the disk reports a sync that it has not done
}

func cuts(s settings, t *tally) error      { return cutAll(s, t, false) }
func lyingCuts(s settings, t *tally) error { return cutAll(s, t, true) }

// cutAll records as many lives as needed, and opens the images at the same time.
func cutAll(s settings, t *tally, lies bool) error {
	batches := make(chan batch)
	errs := make([]error, workers)
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			for b := range batches {
				dir := filepath.Join(s.scratch, fmt.Sprint("worker", n))
				errs[n] = errors.Join(errs[n], b.run(s, t, dir))
			}
		})
	}
	err := feed(s, batches, lies)
	close(batches)
	all.Wait()
	return errors.Join(append(errs, err)...)
}

func feed(s settings, batches chan<- batch, lies bool) error {
	left := s.cuts
	for seed := s.seed; left > 0; seed++ {
		prefix, err := record(s, seed)
		if err != nil {
			return err
		}
		for life := 0; life < livesPerSeed && left > 0; life++ {
			n := min(left, imagesPerLife)
			left -= n
			batches <- batch{seed: seed, life: life, path: fmt.Sprintf("%s%d.rec", prefix, life), images: n, lies: lies}
		}
	}
	return nil
}

// record records the lives of a seed, and returns the prefix of their files.
func record(s settings, seed uint64) (prefix string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTime)
	defer cancel()
	prefix = filepath.Join(s.scratch, fmt.Sprintf("seed%d-", seed))
	cmd := exec.CommandContext(ctx, s.recorder, "-test.run=^TestLives$",
		fmt.Sprint("-seed=", seed), fmt.Sprint("-lives=", livesPerSeed), "-out="+prefix)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.scratch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("record seed %d: %w\n%s", seed, err, bytes.TrimSpace(text))
	}
	return prefix, nil
}

// run opens the images of a batch and deletes the recording, unless an image failed.
func (b batch) run(s settings, t *tally, dir string) error {
	failures := 0
	err := b.open(0, b.images, dir, func(o outcome) {
		if len(o.found) > 0 {
			failures++
		}
		again := ""
		if failures <= maxOfBatch {
			again = fmt.Sprintf("power cut: build/powercut/run -replay %d/%d/%d/%d", b.seed, b.life, o.cut, o.choice)
		}
		t.one(o.found, o.expected, again)
	})
	if failures > maxOfBatch && t.loud {
		fmt.Printf("     and %d more of that recording\n", failures-maxOfBatch)
	}
	if failures > 0 && !b.lies && s.keep != "" {
		err = errors.Join(err, b.save(s.keep))
	}
	// The recorder may have written it again for the control run: the content is the same.
	if gone := os.Remove(b.path); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

func (b batch) save(keep string) error {
	data, err := os.ReadFile(b.path)
	if err == nil {
		err = os.MkdirAll(keep, 0o755)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(kept(keep, b.seed, b.life), data, 0o644)
}

func kept(keep string, seed uint64, life int) string {
	return filepath.Join(keep, fmt.Sprintf("seed%d-%d.rec", seed, life))
}

// replayImage opens one image again: from the recording that was kept, or else from a new
// one of the same seed, which differs only in its random names.
func replayImage(s settings, which string, t *tally) error {
	var seed uint64
	var life, cut, choice int
	if _, err := fmt.Sscanf(which, "%d/%d/%d/%d", &seed, &life, &cut, &choice); err != nil {
		return fmt.Errorf("-replay %s: want SEED/LIFE/CUT/CHOICE: %w", which, err)
	}
	path := kept(s.keep, seed, life)
	if info, err := os.Stat(path); err == nil {
		fmt.Println("the recording that was kept on", info.ModTime().Format(time.DateTime))
	} else {
		prefix, err := record(s, seed)
		if err != nil {
			return err
		}
		path = fmt.Sprintf("%s%d.rec", prefix, life)
		fmt.Println("the recording was not kept: recording again")
	}
	t.loud = true
	b := batch{seed: seed, life: life, path: path}
	return b.openOne(cut, choice, filepath.Join(s.scratch, "replay"), func(o outcome) {
		t.one(o.found, o.expected, "power cut "+which)
	})
}
