package clock

import (
	"testing"
	"time"
)

// TestEarlierBootIsKnownAfterARestart: what a timekeeper knew of a boot of the
// kernel outlives it, as a timeline that the queue's file keeps.
func TestEarlierBootIsKnownAfterARestart(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		b := newBoard("aaaaaaaa", -time.Hour, Unsynced)
		k := newTimekeeper(TrustAuto, b.clockSource)
		early, truth := k.Now(), time.Now()
		time.Sleep(time.Minute)
		b.sync()
		k.Now()

		next := newTimekeeper(TrustAuto, newBoard("bbbbbbbb", -time.Hour, Unsynced).clockSource)
		if got := next.Resolve(early); got != early {
			t.Errorf("an unknown boot: %+v became %+v", early, got)
		}
		before := next.Version()
		next.Restore(k.Timeline())
		if next.Version() == before {
			t.Error("Restore did not change the version: the queue would not save the timeline")
		}
		if got := next.Resolve(early); off(got, truth) > time.Second || got.Clock != Estimated {
			t.Errorf("%+v, want an estimate of %v", got, truth)
		}
		if line := next.Timeline(); len(line) != 2 || line[1].Kernel != "bbbbbbbb" {
			t.Errorf("the timeline is %+v, want the present boot last", line)
		}
	})
}

// TestAgeIsKnownOnlyWithinABoot compares stamps of two boots of the kernel.
func TestAgeIsKnownOnlyWithinABoot(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		k := newTimekeeper(TrustAuto, newBoard("aaaaaaaa", 0, Unsynced).clockSource)
		at := k.Now()
		time.Sleep(3 * time.Second)
		if age, known := k.Age(at); !known || age != 3*time.Second {
			t.Errorf("age %v, known %v", age, known)
		}
		at.Kernel = "bbbbbbbb"
		if _, known := k.Age(at); known {
			t.Error("the age of a stamp of another boot is known")
		}
	})
}

// TestOnlyAutomaticTrustPollsTheSlowSources: chrony and the real-time clock cost
// a packet and a file.
func TestOnlyAutomaticTrustPollsTheSlowSources(t *testing.T) {
	for trust, want := range map[Trust]int{TrustAuto: 1, TrustAlways: 0, TrustNever: 0} {
		polls := 0
		b := newBoard("aaaaaaaa", 0, Unsynced)
		b.clockSource.poll = func() { polls++ }
		if newTimekeeper(trust, b.clockSource); polls != want {
			t.Errorf("trust %d: polled %d times at the start, want %d", trust, polls, want)
		}
	}
}

// TestRoundingOfTwoClocksIsNotAStep: the wall clock and the uptime are read one
// after the other, so their difference varies by a millisecond.
func TestRoundingOfTwoClocksIsNotAStep(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		b := newBoard("aaaaaaaa", 0, Synced)
		k := newTimekeeper(TrustAuto, b.clockSource)
		first := k.Now()
		offset := first.Unix - first.Uptime.Milliseconds()
		for _, late := range []time.Duration{time.Millisecond, -time.Millisecond, 0} {
			b.wrong = late
			if at := k.Now(); at.Unix-at.Uptime.Milliseconds() != offset {
				t.Errorf("%v late: the offset is %d, want %d", late, at.Unix-at.Uptime.Milliseconds(), offset)
			}
		}
		b.wrong = 2 * time.Millisecond
		if at := k.Now(); at.Unix-at.Uptime.Milliseconds() != offset+2 {
			t.Errorf("a clock that is slewed by 2 ms: the offset is %d, want %d", at.Unix-at.Uptime.Milliseconds(),
				offset+2)
		}
	})
}

// TestAnswerOfTheSlowSourcesIsCached: quality does not wait.
func TestAnswerOfTheSlowSourcesIsCached(t *testing.T) {
	w := &timeSources{sys: t.TempDir(), run: t.TempDir(), chrony: "127.0.0.1:1"}
	w.second.Store(uint32(sourceChrony))
	if w.poll(); source(w.second.Load()) != sourceNone {
		t.Errorf("no source answers, and the clock is %v", source(w.second.Load()).quality())
	}
}

// TestTimelineRecordsTheLengthOfABoot: from its readings in the queue.
func TestTimelineRecordsTheLengthOfABoot(t *testing.T) {
	line := Timeline{{Kernel: "one"}, {Kernel: "two", Last: 7000}}
	line.Observe(Stamp{Kernel: "one", Uptime: 5 * time.Second})
	line.Observe(Stamp{Kernel: "two", Uptime: 6 * time.Second})
	if line[0].Last != 5000 || line[1].Last != 7000 {
		t.Errorf("%+v", line)
	}
}

// TestEstimateOfABootIsBoundedByLaterBoots has two unknown boots in a row: both
// fit between the known ones.
func TestEstimateOfABootIsBoundedByLaterBoots(t *testing.T) {
	const hour = int64(3600 * 1000)
	first := int64(1_790_000_000_000)
	line := Timeline{{"one", first, hour}, {"two", 0, hour}, {"three", 0, 2 * hour}, {"four", first + 10*hour, 0}}
	for kernel, want := range map[string][2]int64{
		"two":   {first + hour, first + 7*hour},   // ends before three, which lived for two hours
		"three": {first + 2*hour, first + 8*hour}, // begins after two
	} {
		for i, wall := range []int64{0, first + 20*hour} {
			got := line.Resolve(Stamp{Unix: wall, Kernel: kernel, Clock: Unsynced})
			if got.Unix != want[i] {
				t.Errorf("boot %s with a wall clock of %d: began at hour %v, want %v", kernel, wall,
					float64(got.Unix-first)/float64(hour), (want[i]-first)/hour)
			}
		}
	}
}

// TestBootWithOneBoundIsNotEstimated: five minutes count only between
// two bounds.
func TestBootWithOneBoundIsNotEstimated(t *testing.T) {
	for name, line := range map[string]Timeline{
		"nothing known after":  {{"one", 1_790_000_000_000, 1000}, {"two", 0, 1000}},
		"nothing known before": {{"two", 0, 1000}, {"three", 100_000, 0}},
	} {
		if got := line.Resolve(Stamp{Unix: 50_000, Kernel: "two", Clock: Unsynced}); got.Clock != Unsynced {
			t.Errorf("%s: %v", name, got.Clock)
		}
	}
}
