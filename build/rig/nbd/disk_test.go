package nbd

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

const sectors = 64

// blank is a disk of zeros.
func blank(t *testing.T, lies bool) *Disk {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, sectors*sectorSize), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(file, lies)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func sector(fill byte) []byte { return bytes.Repeat([]byte{fill}, sectorSize) }

func write(t *testing.T, s *session, n int64, fill byte, forced bool) {
	t.Helper()
	if err := s.write(sector(fill), n*sectorSize, forced); err != nil {
		t.Fatal(err)
	}
}

// first is the first byte of a sector, as the machine reads it.
func first(t *testing.T, s *session, n int64) byte {
	t.Helper()
	b := make([]byte, sectorSize)
	if err := s.read(b, n*sectorSize); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

func cut(t *testing.T, d *Disk, keep float64, seed uint64) (kept, lost int) {
	t.Helper()
	kept, lost, err := d.Cut(keep, rand.New(rand.NewPCG(seed, 0)))
	if err != nil {
		t.Fatal(err)
	}
	return kept, lost
}

func TestMachineReadsWhatItWrote(t *testing.T) {
	s := blank(t, false).session()
	write(t, s, 3, 'a', false)
	if got := first(t, s, 3); got != 'a' {
		t.Errorf("sector 3 reads %q", got)
	}
}

func TestCutTakesWhatWasNotFlushed(t *testing.T) {
	d := blank(t, false)
	s := d.session()
	write(t, s, 1, 'a', false)
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	write(t, s, 1, 'b', false) // overwrites a durable sector
	write(t, s, 2, 'c', false)
	write(t, s, 3, 'd', true)

	if kept, lost := cut(t, d, 0, 1); kept != 0 || lost != 2 {
		t.Errorf("cut kept %d and lost %d sectors, want 0 and 2", kept, lost)
	}
	s = d.session()
	for n, want := range map[int64]byte{1: 'a', 2: 0, 3: 'd'} {
		if got := first(t, s, n); got != want {
			t.Errorf("sector %d is %q after the cut, want %q", n, got, want)
		}
	}
}

func TestCutKeepsARandomPart(t *testing.T) {
	outcome := func(keep float64, seed uint64) (kept int, image string) {
		d := blank(t, false)
		s := d.session()
		for n := range int64(sectors) {
			write(t, s, n, 'x', false)
		}
		kept, _ = cut(t, d, keep, seed)
		s = d.session()
		for n := range int64(sectors) {
			image += string(first(t, s, n))
		}
		return kept, image
	}
	if kept, _ := outcome(1, 1); kept != sectors {
		t.Errorf("keep 1 kept %d of %d", kept, sectors)
	}
	kept, image := outcome(0.5, 7)
	if kept == 0 || kept == sectors {
		t.Errorf("keep 0.5 with seed 7 kept %d of %d", kept, sectors)
	}
	if _, again := outcome(0.5, 7); again != image {
		t.Errorf("seed 7 gave %q and then %q", image, again)
	}
}

func TestCutDuringAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := blank(t, false)
		d.SetFlushTime(5 * time.Millisecond)
		s := d.session()
		write(t, s, 1, 'a', false)
		flushed := make(chan error)
		go func() { flushed <- s.flush() }()
		time.Sleep(4 * time.Millisecond)
		cut(t, d, 0, 1)
		if err := <-flushed; err != errPowerCut {
			t.Errorf("the flush: %v", err)
		}
		if got := first(t, d.session(), 1); got != 0 {
			t.Errorf("sector 1 is %q", got)
		}
	})
}

func TestNothingReachesTheDiskAfterTheCut(t *testing.T) {
	d := blank(t, false)
	s := d.session()
	cut(t, d, 0, 1)
	if err := s.write(sector('z'), 0, true); err != errPowerCut {
		t.Errorf("a write after the cut: %v", err)
	}
	if err := s.flush(); err != errPowerCut {
		t.Errorf("a flush after the cut: %v", err)
	}
	if got := first(t, d.session(), 0); got != 0 {
		t.Errorf("sector 0 is %q", got)
	}
}

func TestLyingDiskLosesWhatWasFlushed(t *testing.T) {
	d := blank(t, true)
	s := d.session()
	write(t, s, 1, 'a', true)
	write(t, s, 2, 'b', false)
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if kept, lost := cut(t, d, 0, 1); kept != 0 || lost != 2 {
		t.Errorf("cut kept %d and lost %d sectors, want 0 and 2", kept, lost)
	}
}
