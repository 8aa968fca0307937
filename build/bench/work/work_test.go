package work

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// TestJob runs a job for build/bench: the environment has the job, and the result goes to
// file descriptor 3.
func TestJob(t *testing.T) {
	text, ok := os.LookupEnv("HOLDFAST_BENCH_JOB")
	if !ok {
		t.Skip("only build/bench/run gives it something to do")
	}
	var j Job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	if j.Real {
		answer(t, j)
		return
	}
	synctest.Test(t, func(t *testing.T) { answer(t, j) })
}

func answer(t *testing.T, j Job) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := Do(ctx, j)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(os.NewFile(3, "result")).Encode(r); err != nil {
		t.Fatal(err)
	}
}

func TestSectorsAreTheSeventhNumber(t *testing.T) {
	got, err := bytesWritten("     105        0     4624       12      230      410     51" +
		"20      96        0      100      108\n")
	if err != nil || got != 5120*512 {
		t.Errorf("got %d bytes, %v; want %d", got, err, 5120*512)
	}
	if _, err := bytesWritten("1 2 3"); err == nil {
		t.Error("a line that is cut short is no error")
	}
}

func TestFieldTakesTheWholeName(t *testing.T) {
	status := "VmRSS:\t    5120 kB\nRssAnon:\t    2048 kB\nRssFile:\t    3072 kB\n"
	if got, err := kib(status, "RssAnon:"); err != nil || got != 2<<20 {
		t.Errorf("got %d bytes, %v; want %d", got, err, 2<<20)
	}
	if _, err := field(status, "Threads:"); err == nil {
		t.Error("a name that is not there is no error")
	}
}

func TestMedianIsInTheMiddle(t *testing.T) {
	for want, v := range map[float64][]float64{3: {9, 1, 3}, 2.5: {4, 1, 2, 3}, 7: {7}} {
		if got := median(v); got != want {
			t.Errorf("median of %v is %v, want %v", v, got, want)
		}
	}
}

// A source gives every store the same work.
func TestSourceRepeats(t *testing.T) {
	a, b := newSource(1), newSource(1)
	for i := range 100 {
		x, y := a.next(), b.next()
		if x.Stream != y.Stream || x.Seq != y.Seq || x.Value != y.Value {
			t.Fatalf("reading %d is %v and %v", i, x, y)
		}
		if want := uint64(i/3 + 1); x.Seq != want {
			t.Fatalf("reading %d has seq %d, want %d", i, x.Seq, want)
		}
	}
}

// TestStampsOfASourceFollowSimulatedTime: the stored form of a reading depends on the
// uptime in its stamp, so benchmarks in simulated time are valid only if the uptime is
// simulated too.
func TestStampsOfASourceFollowSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(1)
		first := s.next().At
		time.Sleep(time.Hour)
		for _, at := range []clock.Stamp{s.next().At, s.alarm().At} {
			// The wall clock and the uptime are each rounded to a millisecond.
			if by := at.Uptime - first.Uptime; (by-time.Hour).Abs() > time.Millisecond ||
				at.Unix-first.Unix != by.Milliseconds() {
				t.Errorf("an hour later the uptime is %v later and the wall clock %d ms", by, at.Unix-first.Unix)
			}
		}
	})
}
