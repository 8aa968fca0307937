package queue

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// filled makes a queue file with alarms and routine readings that wait, and
// returns its bytes.
func filled(t *testing.T, alarms, routines uint64) []byte {
	t.Helper()
	path := queuePath(t)
	synctest.Test(t, func(t *testing.T) {
		h := start(t, path)
		for seq := range routines {
			h.Put(routine(seq + 1))
			if seq%(routines/alarms) == 0 {
				h.Put(alarm(seq/(routines/alarms) + 1))
			}
			time.Sleep(20 * time.Millisecond)
		}
		h.end()
	})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// injure damages a copy of a file in one of many ways. It returns its name.
func injure(r *rand.Rand, b []byte) (string, []byte) {
	b = bytes.Clone(b)
	pages := len(b) / 4096
	page := func() []byte { n := r.IntN(pages); return b[n*4096 : (n+1)*4096] }
	switch r.IntN(9) {
	case 0:
		return "truncated", b[:r.IntN(len(b))]
	case 1:
		for range 1 + r.IntN(3) {
			clear(page())
		}
		return "zeroed pages", b
	case 2:
		x, y := page(), page()
		tmp := bytes.Clone(x)
		copy(x, y)
		copy(y, tmp)
		return "swapped pages", b
	case 3:
		for range 1 + r.IntN(20) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		return "flipped bits", b
	case 4:
		clear(b[:4096*(1+r.IntN(2))])
		return "bad heads", b
	case 5:
		return "empty", nil
	case 6:
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return "random", b
	case 7:
		p := page()
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return "random page", b
	default:
		return "long", append(b, page()...)
	}
}

// TestNoDamageStopsTheStart opens a thousand damaged files. What comes out of
// them is what was put in, and the queue works.
func TestNoDamageStopsTheStart(t *testing.T) {
	whole := filled(t, 40, 20_000)
	seed := uint64(time.Now().UnixNano())
	var mu sync.Mutex
	back := map[string][]int{}
	shares, files := 4, 80
	switch short := testing.Short(); {
	case proving && !short:
		files = 1000
	case short && !proving:
		files = 40
	}
	t.Run("files", func(t *testing.T) {
		for share := range uint64(shares) {
			t.Run(fmt.Sprint(share), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, share))
				path := filepath.Join(t.TempDir(), "queue", "queue.db")
				for i := range files / shares {
					name, b := injure(r, whole)
					if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700),
						os.WriteFile(path, b, 0o600)); err != nil {
						t.Fatal(err)
					}
					n := openInjured(t, path, fmt.Sprintf("seed %d, share %d, file %d, %s", seed, share, i, name))
					mu.Lock()
					back[name] = append(back[name], n)
					mu.Unlock()
					os.RemoveAll(filepath.Dir(path))
				}
			})
		}
	})
	for name, counts := range back {
		sum, fewest := 0, 1<<30
		for _, n := range counts {
			sum, fewest = sum+n, min(fewest, n)
		}
		t.Logf("%-14s %4d files: %6d of 20040 readings come back on average, %d at least", name, len(counts),
			sum/len(counts), fewest)
		if mean := sum / len(counts); mean < 15_000 &&
			slices.Contains([]string{"flipped bits", "bad heads", "zeroed pages", "random page", "swapped pages",
				"long"}, name) {
			t.Errorf("%s: only %d readings come back on average (seed %d)", name, mean, seed)
		}
	}
}

func openInjured(t *testing.T, path, what string) (n int) {
	t.Helper()
	q, err := Open(Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Second,
		Clock: clock.NewTimekeeper(clock.TrustAlways)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer q.Close()
	for q.Stats().Backlog > 0 {
		items, err := q.Peek(&Cursor{}, 1000)
		if err != nil || len(items) == 0 {
			t.Fatalf("%s: %d items of a backlog of %d, %v", what, len(items), q.Stats().Backlog, err)
		}
		for _, it := range items {
			if it.Event != "" {
				continue
			}
			n++
			if it.Stream == "room" && it.Value != float64(it.Seq)/100 || it.Stream == "door" && it.State != "open" ||
				it.Seq == 0 || it.Seq > 20_000 {
				t.Fatalf("%s: this was never put: %+v", what, it)
			}
		}
		q.Ack(items)
	}
	return n
}

// TestBrownOutLoopLosesNothing dies while it opens the file, again and again,
// each time under another boot of the kernel: the power comes and goes.
func TestBrownOutLoopLosesNothing(t *testing.T) {
	path := queuePath(t)
	if err := os.WriteFile(path, filled(t, 10, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	boots := 0
	dieOpening(t, path, 10, func() string { boots++; return fmt.Sprint("boot-", boots) })
	if n := openInjured(t, path, "after ten brown-outs"); n != 1010 {
		t.Errorf("%d of 1010 readings after ten brown-outs", n)
	}
	if aside, _ := filepath.Glob(path + ".aside-*"); len(aside) != 0 {
		t.Errorf("the file was quarantined: %v", aside)
	}
}

// TestTwoCrashesInOneKernelBootQuarantine carries everything over and keeps the file.
func TestTwoCrashesInOneKernelBootQuarantine(t *testing.T) {
	path := queuePath(t)
	if err := os.WriteFile(path, filled(t, 10, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	dieOpening(t, path, 2, func() string { return "boot-1" })
	kernelBoot = func() string { return "boot-1" }
	if n := openInjured(t, path, "after two deaths"); n != 1010 {
		t.Errorf("%d of 1010 readings after the salvage", n)
	}
	if aside, _ := filepath.Glob(path + ".aside-*-complete"); len(aside) != 1 {
		t.Errorf("aside: %v", aside)
	}
	if _, err := os.Stat(path + ".opening"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the marker is still there: %v", err)
	}
}

// dieOpening does what a start does before it opens the file, and no more.
func dieOpening(t *testing.T, path string, times int, boot func() string) {
	t.Helper()
	old := kernelBoot
	t.Cleanup(func() { kernelBoot = old })
	kernelBoot = boot
	for range times {
		d := store{path: path, log: slog.New(slog.DiscardHandler)}
		if found, err := d.inspect(); found.condition != intact || err != nil {
			t.Fatalf("found %v, %v", found, err)
		}
		id := boot() // one ID for all of a start
		kernelBoot = func() string { return id }
		m := marker{path: path + ".opening"}
		if err := m.set(); err != nil || m.suspectFile() {
			t.Fatalf("quarantined after %d crashes, %v", m.Crashes, err)
		}
		kernelBoot = boot
	}
}

// TestPowerCutBetweenTheRenamesOfASalvage finds the salvaged file and no other.
func TestPowerCutBetweenTheRenamesOfASalvage(t *testing.T) {
	path := queuePath(t)
	if err := os.WriteFile(path+".salvaged", filled(t, 10, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := openInjured(t, path, "between two renames"); n != 1010 {
		t.Errorf("%d of 1010 readings", n)
	}
}

// TestSalvageOfAnIntactFileAgreesWithItsGaps: what was evicted lies on free pages
// of a file that was full once, and must not come back.
func TestSalvageOfAnIntactFileAgreesWithItsGaps(t *testing.T) {
	for _, limit := range []int64{2000, 5000, 9000, 20_000} {
		path := queuePath(t)
		synctest.Test(t, func(t *testing.T) {
			h := start(t, path)
			h.opt.MaxSize = limit
			for seq := range uint64(20_000) {
				r := routine(seq + 1)
				r.Value = float64(seq * 7919 % 101)
				h.Put(r)
				time.Sleep(10 * time.Millisecond)
			}
			h.end()
		})
		dieOpening(t, path, 2, func() string { return "boot-1" })
		kernelBoot = func() string { return "boot-1" }
		h := start(t, path)
		r := recorder{}
		r.take(h.all(t))
		r.check(t, map[string]uint64{"room": 20_000})
		h.end()
	}
}

func TestSalvagedFileIsDeletedAfterThirtyDays(t *testing.T) {
	path := queuePath(t)
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	d := store{path: path, maxQuarantined: 1000, now: now, log: slog.New(slog.DiscardHandler)}
	stays := map[string]bool{
		".aside-20261022T000000.000-complete": true,
		".aside-20261021T000000.000-complete": false,
		".aside-20250101T000000.000-partial":  true,
		".aside-of-mine":                      true,
	}
	for name := range stays {
		if err := os.WriteFile(path+name, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.deleteOldQuarantined()
	d.maxQuarantined = 150
	for name, want := range stays {
		if _, err := os.Stat(path + name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.deleteOldQuarantined() // too large together: the complete one goes first
	if _, err := os.Stat(path + ".aside-20261022T000000.000-complete"); err == nil {
		t.Error("too much is kept aside")
	}
	if _, err := os.Stat(path + ".aside-20250101T000000.000-partial"); err != nil {
		t.Error("what was not salvaged went before what was: ", err)
	}
}

func TestForeignFileIsNotChanged(t *testing.T) {
	path := queuePath(t)
	const letter = "Dear aunt, this is no queue."
	if err := os.WriteFile(path, []byte(letter), 0o600); err != nil {
		t.Fatal(err)
	}
	h := start(t, path)
	h.Put(alarm(1))
	h.end()
	if b, _ := os.ReadFile(path); string(b) != letter {
		t.Errorf("the file says %q now", b)
	}
	h = start(t, path)
	defer h.end()
	if got := names(h.all(t)); !strings.Contains(fmt.Sprint(got), "door1") || got[0] != "storage" {
		t.Errorf("the queue beside it returns %v", got)
	}
}

func TestSharedLockIsNoDamage(t *testing.T) {
	h := start(t, queuePath(t))
	h.Put(alarm(1))
	h.end()
	f, err := os.Open(h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(h.opt, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(h.path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

// TestUncleanStartIsDetected: in order, or not. Of one that an agent of before
// made it knows nothing.
func TestUncleanStartIsDetected(t *testing.T) {
	path := queuePath(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "starts"), []byte("6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		inOrder bool
		want    uint64 // what the start says of the one before
	}{{true, 0}, {false, 0}, {false, 8}, {true, 9}, {true, 0}} {
		q, err := Open(Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Second}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if got := q.UncleanStart(); got != c.want {
			t.Errorf("start %d (%s) says %d, want %d", i, q.Boot(), got, c.want)
		}
		if c.inOrder {
			err = q.Close()
		} else {
			err = q.opened.file.close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusedStartIsNotCounted(t *testing.T) {
	h := start(t, queuePath(t))
	defer h.end()
	for range 3 {
		if _, err := Open(h.opt, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrLocked) ||
			!strings.Contains(err.Error(), fmt.Sprintf("process %d: end that process, or set another queue.path",
				os.Getpid())) {
			t.Errorf("got %v", err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(filepath.Dir(h.path), "starts")); string(b) != "1\n" {
		t.Errorf("starts: %q", b)
	}
}

func TestUnusablePathIsAnError(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a folder": dir, "below a file": filepath.Join(file, "queue.db"),
		"too long": filepath.Join(dir, strings.Repeat("q", 300))} {
		if _, err := Open(Options{Path: path, MaxSize: 1 << 20, SyncEvery: time.Second},
			slog.New(slog.DiscardHandler)); !errors.Is(err, ErrPath) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// small mounts a file system of 1 MiB.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mount(t, dir, "size=1m,nr_inodes=64")
	return dir
}

// mount mounts a file system in memory. Only root may: CI is root.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("only root can mount: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// fill leaves no room; it returns the file that takes it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	f.Close()
	return ballast
}

// TestFullDiskAtTheStart: the backlog on it is delivered, what comes is kept in
// memory, and goes to disk when there is room, without a restart.
func TestFullDiskAtTheStart(t *testing.T) {
	dir := small(t)
	path := filepath.Join(dir, "queue.db")
	h := start(t, path)
	for seq := range uint64(100) {
		h.Put(routine(seq + 1))
	}
	h.end()
	ballast := fill(t, dir)
	synctest.Test(t, func(t *testing.T) {
		h := start(t, path)
		h.Put(routine(101))
		h.Put(alarm(1))
		time.Sleep(10 * time.Second)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := h.Stats().Memory; n != 0 {
			t.Errorf("%d readings in memory a minute after there is room", n)
		}
		r := recorder{}
		if got := r.take(h.all(t)); len(got) != 102 {
			t.Errorf("%d readings, want 102", len(got))
		}
		r.check(t, map[string]uint64{"room": 101, "door": 1})
		h.end()
	})
}

// TestNoDiskAtTheStart begins in memory and takes the disk when it is there.
func TestNoDiskAtTheStart(t *testing.T) {
	dir := small(t)
	path := filepath.Join(dir, "new", "queue.db")
	ballast := fill(t, dir)
	synctest.Test(t, func(t *testing.T) {
		h := start(t, path)
		h.Put(routine(1))
		h.Put(alarm(1))
		inFlight, err := h.next(t.Context(), 10)
		if err != nil || len(inFlight) == 0 {
			t.Fatalf("%v, %v", names(inFlight), err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.Ack(inFlight) // numbered before there was a file: all come again
		if n := h.Stats().Memory; n != 0 {
			t.Errorf("%d readings in memory a minute after there is room", n)
		}
		h.kill()
		h = start(t, path)
		r := recorder{}
		r.take(h.all(t))
		r.check(t, map[string]uint64{"room": 1, "door": 1})
		h.end()
	})
}

// TestDamageUnderARunningAgent zeroes pages of the open file. The queue gives
// the db up, salvages, and goes on without a restart.
func TestDamageUnderARunningAgent(t *testing.T) {
	for page := int64(2); page < 8; page++ {
		path := queuePath(t)
		synctest.Test(t, func(t *testing.T) {
			h := start(t, path)
			for seq := range uint64(6000) {
				h.Put(routine(seq + 1))
				time.Sleep(10 * time.Millisecond)
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt(make([]byte, 4096), page*4096)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			for seq := range uint64(1000) {
				h.Put(routine(6001 + seq))
				time.Sleep(100 * time.Millisecond)
			}
			h.Put(alarm(1))
			h.kill()
			h = start(t, path)
			r := recorder{}
			r.take(h.all(t))
			if !r.seen["door"][1] {
				t.Errorf("page %d: the alarm is gone", page)
			}
			if n := len(r.seen["room"]); n < 3000 {
				t.Errorf("page %d: %d of 7000 readings are left", page, n)
			}
			h.end()
		})
	}
}
