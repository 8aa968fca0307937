package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/build/bench/work"
)

func TestTargetSaysWhetherItIsMet(t *testing.T) {
	least := 500.0
	for want, l := range map[string]line{
		"<= 16 ok":      {Figure: 16, AtMost: atMost(16)},
		"<= 0 MISSED":   {Figure: 0.5, AtMost: atMost(0)},
		"<= 1.20 ok":    {Figure: 1.1, AtMost: atMost(1.2)},
		">= 500 ok":     {Figure: 500, AtLeast: &least},
		">= 500 MISSED": {Figure: 499, AtLeast: &least},
		"":              {Figure: 3},
	} {
		if got := l.target(); got != want {
			t.Errorf("%v: %q, want %q", l.Figure, got, want)
		}
	}
}

func TestNumberHasThreeDigits(t *testing.T) {
	for want, f := range map[string]float64{"0": 0, "12": 12, "0.13": 0.126, "1.23": 1.234, "12.3": 12.34,
		"1235": 1234.6} {
		if got := number(f); got != want {
			t.Errorf("%v is %q, want %q", f, got, want)
		}
	}
}

func TestFlashIsCountedByTheReading(t *testing.T) {
	l := flashLine("ours", work.Result{Readings: 30, Commits: 2, Written: 30_000, Handed: 16_384})
	if l.Figure != 1000 || l.Note != "30 readings, 2 commits of 15000 B, 8192 of them the store's own" {
		t.Errorf("got %v B a reading, %q", l.Figure, l.Note)
	}
	if l := flashLine("ours", work.Result{Readings: 30}); l.Figure != 0 || l.Note != "30 readings, 0 commits" {
		t.Errorf("nothing written is %v, %q", l.Figure, l.Note)
	}
}

func TestDeviceIsFoundByItsMountPoint(t *testing.T) {
	const info = "22 1 254:0 / / rw - ext4 /dev/vda rw\n" +
		"90 22 7:2 / /a/mnt rw,noatime shared:1 - ext4 /dev/loop2 rw\n" +
		"91 22 7:3 / /a/mnt2 rw - ext4 /dev/loop3 rw\n"
	if dev, err := mounted(info, "/a/mnt"); err != nil || dev != "/dev/loop2" {
		t.Errorf("got %q, %v; want /dev/loop2", dev, err)
	}
	if _, err := mounted(info, "/b"); err == nil {
		t.Error("a folder that is not mounted is no error")
	}
}

func TestTableNamesAMeasureOnce(t *testing.T) {
	var out bytes.Buffer
	err := printTable(&out, []line{{Measure: "drain", By: "ours"}, {Measure: "drain", By: "ring"}})
	if n := strings.Count(out.String(), "drain"); err != nil || n != 1 {
		t.Errorf("%d times, %v:\n%s", n, err, &out)
	}
}

func TestRealTimeIsMeasuredOnlyWhenAskedFor(t *testing.T) {
	for _, c := range []struct {
		names []string
		real  bool
		want  int
	}{
		{nil, false, len(measures) - 1},
		{nil, true, len(measures)},
		{[]string{"drain"}, false, 1},
		{[]string{"drain"}, true, 2},
		{[]string{realTime}, false, 1},
	} {
		if got, err := choose(c.names, c.real); err != nil || len(got) != c.want {
			t.Errorf("%v, real %v: %d measures, %v; want %d", c.names, c.real, len(got), err, c.want)
		}
	}
	if _, err := choose([]string{"drian"}, false); err == nil {
		t.Error("a name that is misspelt is no error")
	}
}
