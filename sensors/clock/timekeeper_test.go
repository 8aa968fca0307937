package clock

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// A board is a machine whose clocks a test sets. In a bubble Go's own clock is the true time.
type board struct {
	clockSource
	wrong  time.Duration // error of the wall clock
	says   Quality
	booted time.Time
	set    chan struct{} // the wall clock was set
}

// newBoard returns a board that is switched on now, with a wrong wall clock.
func newBoard(kernel string, wrong time.Duration, says Quality) *board {
	b := &board{wrong: wrong, says: says, booted: time.Now(), set: make(chan struct{})}
	b.clockSource = clockSource{
		kernel:  kernel,
		wall:    func() time.Time { return time.Now().Add(b.wrong) },
		uptime:  func() time.Duration { return time.Since(b.booted) },
		quality: func() Quality { return b.says },
		poll:    func() {},
		awaitSet: func(ctx context.Context, wake chan<- struct{}) error {
			for {
				select {
				case <-b.set:
					signal(wake)
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		},
	}
	return b
}

func (b *board) sync() { b.wrong, b.says = 0, Synced }

// inPresent runs a test in a bubble whose time is after the first release.
func inPresent(t *testing.T, do func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)))
		do(t)
	})
}

// off returns the error of a stamp.
func off(at Stamp, truth time.Time) time.Duration {
	return time.UnixMilli(at.Unix).Sub(truth).Abs()
}

// TestReadingsGetTheirTrueTimeOnceItIsKnown boots at a wrong date, samples for
// ten minutes, starts the agent again on the way, and syncs.
func TestReadingsGetTheirTrueTimeOnceItIsKnown(t *testing.T) {
	for name, wrong := range map[string]time.Duration{
		"boots in 1970":         -time.Duration(time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC).UnixNano()),
		"boots at a saved date": -7 * 24 * time.Hour,
		"boots in the future":   24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			inPresent(t, func(t *testing.T) {
				b := newBoard("aaaaaaaa", wrong, Unsynced)
				var stamps []Stamp
				var truth []time.Time
				k := newTimekeeper(TrustAuto, b.clockSource)
				for i := range 600 {
					if i == 300 { // the agent starts again
						again := newTimekeeper(TrustAuto, b.clockSource)
						again.Restore(k.Timeline())
						k = again
					}
					time.Sleep(time.Second)
					stamps, truth = append(stamps, k.Now()), append(truth, time.Now())
				}
				for i, at := range stamps {
					if got := k.Resolve(at); got.Clock != Unsynced || got.Unix != at.Unix {
						t.Fatalf("reading %d before the sync is %+v, was %+v", i, got, at)
					}
				}
				b.sync()
				last := k.Resolve(k.Now())
				if off(last, time.Now()) > time.Second || last.Clock != Synced {
					t.Errorf("now is %+v", last)
				}
				before := int64(0)
				for i, at := range stamps {
					got := k.Resolve(at)
					if off(got, truth[i]) > time.Second || got.Clock != Estimated {
						t.Errorf("reading %d: %v (%v), was taken at %v", i, time.UnixMilli(got.Unix), got.Clock,
							truth[i])
					}
					if got.Unix <= before || got.Unix > last.Unix {
						t.Errorf("reading %d goes back in time: %d after %d, before %d", i, got.Unix, before, last.Unix)
					}
					before = got.Unix
				}
			})
		})
	}
}

func TestSuspendedTimeCountsAsUptime(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		b := newBoard("aaaaaaaa", -30*24*time.Hour, Unsynced)
		k := newTimekeeper(TrustAuto, b.clockSource)
		early, truth := k.Now(), time.Now()
		time.Sleep(8 * time.Hour) // uptime continues while the machine sleeps, but Go's own clock does not
		b.sync()
		k.Now()
		if got := k.Resolve(early); off(got, truth) > time.Second {
			t.Errorf("%v, want %v", time.UnixMilli(got.Unix), truth)
		}
	})
}

func TestClockStepIsReported(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		inPresent(t, func(t *testing.T) {
			b := newBoard("aaaaaaaa", 0, Synced)
			k := newTimekeeper(TrustAuto, b.clockSource)
			ctx, stop := context.WithCancel(t.Context())
			var events []string
			go k.Run(ctx, func(s Step) {
				if !json.Valid(s.Details()) {
					t.Errorf("%s", s.Details())
				}
				events = append(events, string(s.Details()))
			})
			time.Sleep(2 * time.Hour)
			if long := k.Steady(); long < 119*time.Minute {
				t.Errorf("trusted for %v after two hours", long)
			}
			before := k.Now()
			b.wrong = by
			after := k.Now()
			if d := time.Duration(after.Unix-before.Unix) * time.Millisecond; d != by || after.Clock != Synced {
				t.Errorf("a step of %v shows as %v in the stamp (%v)", by, d, after.Clock)
			}
			if got := k.Resolve(before); got != before {
				t.Errorf("a trusted stamp became %+v, was %+v", got, before)
			}
			time.Sleep(2 * time.Second)
			stop()
			synctest.Wait()
			if want := `{"by_ms":` + strconv.FormatInt(by.Milliseconds(), 10) +
				`,"was":"ok","clock":"ok"}`; len(events) != 1 || events[0] != want {
				t.Errorf("events %q, want %s", events, want)
			}
			if long := k.Steady(); long > 3*time.Second {
				t.Errorf("trusted for %v just after a step", long)
			}
		})
	}
}

// TestSlewIsNotAStep: a clock with an error of 500 ppm is slewed.
func TestSlewIsNotAStep(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		b := newBoard("aaaaaaaa", 0, Synced)
		k := newTimekeeper(TrustAuto, b.clockSource)
		before := int64(0)
		for range 3600 {
			time.Sleep(time.Second)
			b.wrong -= 500 * time.Microsecond
			at := k.Now()
			if at.Unix <= before || off(at, time.Now().Add(b.wrong)) > 2*time.Millisecond {
				t.Fatalf("%d after %d", at.Unix, before)
			}
			before = at.Unix
		}
		if len(k.takeSteps()) > 0 {
			t.Error("a slewed clock counts as stepped")
		}
	})
}

// TestUnconfirmedClockIsExtrapolated: without its time source the clock
// is set by hand, wrongly.
func TestUnconfirmedClockIsExtrapolated(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		b := newBoard("aaaaaaaa", 0, Synced)
		k := newTimekeeper(TrustAuto, b.clockSource)
		k.Now()
		time.Sleep(10 * time.Hour)
		b.says, b.wrong = Unsynced, time.Hour
		at := k.Now()
		if got := k.Resolve(at); got.Clock != Estimated || off(got, time.Now()) > time.Second {
			t.Errorf("%v (%v)", time.UnixMilli(got.Unix), got.Clock)
		}
		if steps := k.takeSteps(); len(steps) != 1 || steps[0].Was != Synced {
			t.Errorf("steps %+v", steps)
		}
	})
}

// TestBootWithoutATimeLiesBetweenItsNeighbours has three boots: the first and the
// last knew the time.
func TestBootWithoutATimeLiesBetweenItsNeighbours(t *testing.T) {
	const hour = int64(3600 * 1000)
	first, last := int64(1_790_000_000_000), 1_790_000_000_000+10*hour
	known := Timeline{{"one", first, hour}, {"two", 0, 2 * hour}, {"three", last, 0}}
	at := func(began, up int64) Stamp {
		return Stamp{Unix: began + up, Uptime: time.Duration(up) * time.Millisecond, Kernel: "two", Clock: Unsynced}
	}
	for name, c := range map[string]struct{ began, want int64 }{
		"as it said, where that can be":                  {first + 3*hour, first + 3*hour},
		"not before what came before":                    {0, first + hour},
		"and what it lived comes before what came after": {last + hour, last - 2*hour},
	} {
		got := known.Resolve(at(c.began, hour/2))
		if got.Unix != c.want+hour/2 || got.Clock != Unsynced {
			t.Errorf("%s: %d (%v), want %d", name, got.Unix, got.Clock, c.want+hour/2)
		}
	}
	known[2].Began = first + 3*hour + 60_000 // it was off for a minute
	if got := known.Resolve(at(0, hour/2)); got.Clock != Estimated {
		t.Errorf("known to a minute, and %v", got.Clock)
	}
	if got := known.Resolve(Stamp{Unix: 5, Kernel: "none", Clock: Unsynced}); got.Unix != 5 || got.Clock != Unsynced {
		t.Errorf("a boot that nobody knows: %+v", got)
	}
}

func TestTimelineKeepsThePresentLastAndIsBounded(t *testing.T) {
	var line Timeline
	for i := range 3 * maxBoots {
		line = line.with(KernelBoot{Kernel: strconv.Itoa(i), Began: int64(i)})
	}
	again := line.with(KernelBoot{Kernel: line[len(line)-1].Kernel})
	if len(again) != maxBoots || again[len(again)-1].Began != 3*maxBoots-1 {
		t.Errorf("%d boots, the last %+v", len(again), again[len(again)-1])
	}
}

func TestOptionTrustOverridesTheKernel(t *testing.T) {
	inPresent(t, func(t *testing.T) {
		b := newBoard("aaaaaaaa", 0, Unsynced)
		if at := newTimekeeper(TrustAlways, b.clockSource).Now(); at.Clock != Synced {
			t.Errorf("a site's own clock is %v", at.Clock)
		}
		b.says = Synced
		if at := newTimekeeper(TrustNever, b.clockSource).Now(); at.Clock != Unsynced {
			t.Errorf("a clock that nobody trusts is %v", at.Clock)
		}
		b.wrong = -40 * 365 * 24 * time.Hour
		if at := newTimekeeper(TrustAuto, b.clockSource).Now(); at.Clock != Unsynced {
			t.Errorf("a clock before the first release is %v", at.Clock)
		}
	})
}

func TestSourcesConfirmWhatTheKernelDoesNot(t *testing.T) {
	now := time.Now().UnixMilli()
	w := &timeSources{sys: t.TempDir(), run: t.TempDir(), chrony: "127.0.0.1:1"}
	if c := w.query(now).quality(); c != Unsynced {
		t.Errorf("no source confirms the clock, and it is %v", c)
	}
	rtc := filepath.Join(w.sys, "class/rtc/rtc0")
	write(t, filepath.Join(rtc, "since_epoch"), strconv.FormatInt(now/1000-5, 10)+"\n")
	if c := w.query(now).quality(); c != Estimated {
		t.Errorf("the real-time clock agrees, and the clock is %v", c)
	}
	write(t, filepath.Join(rtc, "since_epoch"), "3600\n") // a Pi 5 without a battery
	if c := w.query(now).quality(); c != Unsynced {
		t.Errorf("the real-time clock starts again, and the clock is %v", c)
	}
	mark := filepath.Join(w.run, "systemd/timesync/synchronized")
	write(t, mark, "")
	for ago, want := range map[time.Duration]Quality{0: Synced, 8 * time.Hour: Synced,
		10 * time.Hour: Estimated, -time.Hour: Estimated} {
		at := time.UnixMilli(now).Add(-ago)
		if err := os.Chtimes(mark, at, at); err != nil {
			t.Fatal(err)
		}
		if c := w.query(now).quality(); c != want {
			t.Errorf("timesyncd has confirmed the clock %v ago, and it is %v", ago, c)
		}
	}
	w.chrony = chronyd(t, 0, 0)
	if c := w.query(now).quality(); c != Synced {
		t.Errorf("chrony has the time, and the clock is %v", c)
	}
	if w.poll(); !kernelSynced() && w.name() != "chrony" {
		t.Errorf("chrony has the time, and %q confirms it", w.name())
	}
	for trust, want := range map[Trust]string{TrustAlways: "clock.trust: always", TrustNever: ""} {
		if got := NewTimekeeper(trust).Source(); got != want {
			t.Errorf("%v: %q confirms the clock, want %q", trust, got, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tracking is an answer of chronyd's.
func tracking(sequence uint32, leap uint16, correction uint32) []byte {
	b := make([]byte, chronyLength)
	b[0], b[1] = 6, 2
	binary.BigEndian.PutUint16(b[4:], 33)
	binary.BigEndian.PutUint16(b[6:], 5)
	binary.BigEndian.PutUint32(b[16:], sequence)
	binary.BigEndian.PutUint16(b[54:], leap)
	binary.BigEndian.PutUint32(b[68:], correction)
	return b
}

// chronyd starts a server that answers requests, and returns its address.
func chronyd(t *testing.T, leap uint16, correction uint32) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		var ask [256]byte
		for {
			n, from, err := c.ReadFrom(ask[:])
			if err != nil {
				return
			}
			if n == chronyLength && ask[0] == 6 && ask[1] == 1 && ask[5] == 33 {
				c.WriteTo(tracking(binary.BigEndian.Uint32(ask[8:]), leap, correction), from)
			}
		}
	}()
	return c.LocalAddr().String()
}

func TestChronyIsInSyncOnlyWhenItSaysSo(t *testing.T) {
	const twoSeconds = 3<<25 | 1<<23 // 2^23 * 2^(3-25)
	if chronyFloat(twoSeconds) != 2 || chronyFloat(0x02800000) != 0.5 || chronyFloat(3<<25|0x1800000) != -2 {
		t.Error(chronyFloat(twoSeconds), chronyFloat(0x02800000), chronyFloat(3<<25|0x1800000))
	}
	for name, c := range map[string]struct {
		answer []byte
		want   bool
	}{
		"in sync":             {tracking(7, 0, 0), true},
		"a leap second":       {tracking(7, 1, 0), true},
		"not synchronised":    {tracking(7, 3, 0), false},
		"two seconds off":     {tracking(7, 0, twoSeconds), false},
		"to another question": {tracking(8, 0, 0), false},
		"short":               {tracking(7, 0, 0)[:60], false},
	} {
		if got := chronyInSync(c.answer, 7); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if chronySynced("127.0.0.1:1") {
		t.Error("nobody is there, and in sync")
	}
}

func FuzzChrony(f *testing.F) {
	f.Add(tracking(7, 0, 0), uint32(7))
	f.Fuzz(func(t *testing.T, b []byte, sequence uint32) {
		if chronyInSync(b, sequence) && len(b) < chronyLength {
			t.Error("took a short answer")
		}
	})
}

func TestBootAndUptimeOfThisMachine(t *testing.T) {
	m := kernelClocks()
	if len(m.kernel) != 8 || m.uptime() <= 0 {
		t.Errorf("kernel %q, uptime %v", m.kernel, m.uptime())
	}
	k := NewTimekeeper(TrustAlways)
	a := k.Now()
	b := k.Now()
	if b.Uptime < a.Uptime || off(b, time.Now()) > time.Second {
		t.Errorf("%+v after %+v", b, a)
	}
}
