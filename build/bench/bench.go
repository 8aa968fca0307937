package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/work"
)

// bench has the options of the measures.
type bench struct {
	worker, dir string
	quick       bool
	fixtures    map[string]fixture
}

// A fixture is a folder with a queue that has a backlog.
type fixture struct {
	dir    string
	result work.Result
}

// pick returns one of two sizes.
func (b *bench) pick(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}

// folder creates a new empty folder.
func (b *bench) folder() (string, error) {
	return os.MkdirTemp(b.dir, "job-")
}

// do runs a job in a worker process.
func (b *bench) do(ctx context.Context, j work.Job) (r work.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	text, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	result, childEnd, err := os.Pipe()
	if err != nil {
		return r, err
	}
	defer result.Close()
	c := exec.CommandContext(ctx, b.worker, "-test.run=^TestJob$", "-test.timeout=0")
	c.Env = append(os.Environ(), "HOLDFAST_BENCH_JOB="+string(text))
	c.ExtraFiles = []*os.File{childEnd}
	out, err := c.CombinedOutput()
	childEnd.Close()
	if err != nil {
		return r, errors.Join(fmt.Errorf("worker: %w: %s", err, out), ctx.Err())
	}
	return r, json.NewDecoder(result).Decode(&r)
}

// onDisk runs a job on a new disk, and counts the bytes written to its device. from is a
// folder to start with, or empty.
func (b *bench) onDisk(ctx context.Context, j work.Job, from string) (r work.Result, err error) {
	dir, err := b.folder()
	if err != nil {
		return r, err
	}
	d, err := newDisk(ctx, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	j.Dir, j.Device = filepath.Join(d.mount, "state"), d.device
	if err := os.Mkdir(j.Dir, 0o700); err != nil {
		return r, err
	}
	if from != "" {
		if err := os.CopyFS(j.Dir, os.DirFS(from)); err != nil {
			return r, err
		}
	}
	return b.do(ctx, j)
}

// waiting returns a queue with a backlog of n readings that were put at a rate, in readings
// a second. It is created once, at the first call.
func (b *bench) waiting(ctx context.Context, n int, rate float64) (fixture, error) {
	name := fmt.Sprintf("%d at %g/s", n, rate)
	if f, ok := b.fixtures[name]; ok {
		return f, nil
	}
	dir, err := b.folder()
	if err != nil {
		return fixture{}, err
	}
	f := fixture{dir: dir}
	f.result, err = b.do(ctx, work.Job{Work: "fill", Store: "ours", Dir: dir, N: n, Rate: rate})
	if err != nil {
		return f, err
	}
	if b.fixtures == nil {
		b.fixtures = map[string]fixture{}
	}
	b.fixtures[name] = f
	return f, nil
}

// copied is a copy of such a queue, which the job may change.
func (b *bench) copied(ctx context.Context, n int, rate float64) (string, error) {
	f, err := b.waiting(ctx, n, rate)
	if err != nil {
		return "", err
	}
	dir, err := b.folder()
	if err != nil {
		return "", err
	}
	return dir, os.CopyFS(dir, os.DirFS(f.dir))
}
