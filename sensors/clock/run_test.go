package clock

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// running starts Run and returns the steps that it has reported. It ends with the
// test.
func running(t *testing.T, k *Timekeeper) (steps *[]Step) {
	steps = new([]Step)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- k.Run(ctx, func(s Step) { *steps = append(*steps, s) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	return steps
}

// TestClockIsCheckedASecondAfterItIsSet although nothing is measured, and
// although it is set twice in that second.
func TestClockIsCheckedASecondAfterItIsSet(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		b := newBoard("aaaaaaaa", -time.Hour, Unsynced)
		k := newTimekeeper(TrustAuto, b.clockSource)
		k.Now()
		steps := running(t, k)
		time.Sleep(checkEvery + 3*time.Second)
		synctest.Wait()
		b.wrong = time.Minute
		b.set <- struct{}{}
		time.Sleep(settle / 2)
		synctest.Wait()
		b.sync() // the second call of the program that sets the clock
		b.set <- struct{}{}
		time.Sleep(settle/2 + time.Millisecond)
		synctest.Wait()
		if len(*steps) != 1 || (*steps)[0].By != time.Hour.Milliseconds() || (*steps)[0].At.Clock != Synced {
			t.Fatalf("steps %+v, want one of an hour to a clock that is right", *steps)
		}
		if began := k.Timeline()[0].Began; began == 0 {
			t.Error("the boot has no anchor")
		}
	})
}

// TestClockStepSeenByAReadingIsReportedASecondLater: a machine whose kernel did not
// announce it.
func TestClockStepSeenByAReadingIsReportedASecondLater(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		b := newBoard("aaaaaaaa", 0, Synced)
		k := newTimekeeper(TrustAuto, b.clockSource)
		k.Now()
		steps := running(t, k)
		time.Sleep(checkEvery + time.Second)
		synctest.Wait()
		b.wrong = time.Hour
		k.Now()
		time.Sleep(settle + time.Millisecond)
		synctest.Wait()
		if len(*steps) != 1 {
			t.Errorf("steps %+v, want one", *steps)
		}
	})
}

// TestIdleClockIsPolledSixTimesAMinute: or each second if the kernel does not announce that the clock
// was set.
func TestIdleClockIsPolledSixTimesAMinute(t *testing.T) {
	for want, err := range map[int]error{6: nil, 60: unix.ENOSYS} {
		inPresent(t, func(t *testing.T) {
			looks, polls := 0, 0
			b := newBoard("aaaaaaaa", 0, Unsynced)
			b.quality = func() Quality { looks++; return Unsynced }
			b.poll = func() { polls++ }
			if err != nil {
				b.awaitSet = func(context.Context, chan<- struct{}) error { return err }
			}
			k := newTimekeeper(TrustAuto, b.clockSource)
			polls = 0
			running(t, k)
			time.Sleep(time.Minute + time.Millisecond)
			synctest.Wait()
			if looks != want || polls != 6 {
				t.Errorf("%d looks and %d polls in a minute, want %d and 6", looks, polls, want)
			}
		})
	}
}

// TestPollingIsAlignedToTheClock: and no check is later than without it.
func TestPollingIsAlignedToTheClock(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		began := time.Now()
		var looks, polls []time.Duration
		b := newBoard("aaaaaaaa", 0, Unsynced)
		b.quality = func() Quality { looks = append(looks, time.Since(began)); return Unsynced }
		b.poll = func() { polls = append(polls, time.Since(began)) }
		k := newTimekeeper(TrustAuto, b.clockSource)
		running(t, k)
		time.Sleep(time.Second)
		k.Align(time.Now().Add(checkEvery)) // also one that is still to come
		time.Sleep(4*checkEvery - time.Second + time.Millisecond)
		synctest.Wait()
		want := []time.Duration{10 * time.Second, 11 * time.Second, 21 * time.Second, 31 * time.Second}
		if !slices.Equal(looks, want) || !slices.Equal(polls, append([]time.Duration{0}, want...)) {
			t.Errorf("looks at %v and polls at %v, want %v", looks, polls, want)
		}
	})
}

// TestKernelAnnouncesThatTheClockIsSet steps the machine's clock by a nanosecond,
// twice. build/rig does it with hours.
func TestKernelAnnouncesThatTheClockIsSet(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	wake, ended := make(chan struct{}, 1), make(chan error)
	go func() { ended <- awaitSet(ctx, wake) }()
	for range 2 {
		if !steppedUntil(t, wake) {
			break // even without the right to set the clock, awaitSet must end
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// steppedUntil steps the clock until a token comes: the timer may not be there
// yet at the first time. It reports false if we may not set the clock.
func steppedUntil(t *testing.T, wake <-chan struct{}) bool {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for range 3000 {
		step := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO}
		step.Time.Usec = 1 // of ADJ_NANO: nanoseconds
		if _, err := unix.Adjtimex(&step); errors.Is(err, unix.EPERM) {
			t.Log("needs CAP_SYS_TIME to step the clock")
			return false
		} else if err != nil {
			t.Fatal(err)
		}
		select {
		case <-wake:
			return true
		case <-again.C:
		}
	}
	t.Fatal("the clock was set for half a minute, and the kernel told nothing")
	return false
}
