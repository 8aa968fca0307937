package clock

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// A Timekeeper stamps moments, knows how far the wall clock can be trusted, and
// corrects stamps that were made before the time was known. It is safe for
// concurrent use.
//
// A Raspberry Pi starts without the time, and may get it hours later, in one
// step. So each stamp has two times: the wall clock's, and the time since the
// kernel booted, which no program sets. The first moment at which the wall clock
// can be trusted is the anchor of the boot: it says when the kernel booted, and
// so when every other moment of this boot was. See [Timekeeper.Resolve].
type Timekeeper struct {
	trust  Trust
	source clockSource
	wake   chan struct{} // a token: the clock was set, and Run is to look at it

	mu       sync.Mutex
	boots    Timeline // the last one is this boot of the kernel
	version  uint64   // grows when boots changes
	observed bool
	offset   int64         // wall clock minus uptime in ms, at the last stamp
	clock    Quality       // at the last stamp
	steady   time.Duration // uptime since when the clock has been trusted and has not stepped
	steps    []Step        // not reported yet
	tick     time.Time     // see Align
}

// A Step is a jump of the wall clock.
type Step struct {
	At  Stamp   // the first stamp after it; its Clock is the quality since
	By  int64   // how far the clock jumped, in ms; negative: back
	Was Quality // of the clock before the jump
}

const (
	minStep         = 1000              // ms between two stamps: more than a clock is slewed in half an hour
	oldestPlausible = 1_767_225_600_000 // 2026-01-01, before the first release: an earlier wall clock is wrong
)

// NewTimekeeper returns a timekeeper of this machine.
func NewTimekeeper(trust Trust) *Timekeeper { return newTimekeeper(trust, kernelClocks()) }

// newTimekeeper asks the slow sources once, so that the first stamps are as good as
// they can be.
func newTimekeeper(trust Trust, m clockSource) *Timekeeper {
	if trust == TrustAuto {
		m.poll()
	}
	return &Timekeeper{trust: trust, source: m, wake: make(chan struct{}, 1), boots: Timeline{{Kernel: m.kernel}},
		tick: time.Now()}
}

// Align makes Run check the clock at this tick and at intervals from it, beginning with its
// next check: sensors that measure at the same times then share the wake-ups of the
// processor with it. It may be called from any goroutine.
func (k *Timekeeper) Align(tick time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tick = tick
}

// untilTick returns the time until the next tick at the interval every: more than 0, at most
// every.
func (k *Timekeeper) untilTick(every time.Duration) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	since := time.Since(k.tick) % every
	if since < 0 { // the first tick is still to come
		since += every
	}
	return every - since
}

// Now returns the stamp of this moment. It does not block, and may be called from any
// goroutine like every method.
func (k *Timekeeper) Now() Stamp {
	k.mu.Lock()
	defer k.mu.Unlock()
	wall, uptime := k.source.wall().UnixMilli(), k.source.uptime().Truncate(time.Millisecond)
	offset := wall - uptime.Milliseconds()
	if d := offset - k.offset; k.observed && -1 <= d && d <= 1 {
		offset = k.offset // a difference of 1 ms is the rounding of two clocks
	}
	at := Stamp{Unix: uptime.Milliseconds() + offset, Uptime: uptime, Kernel: k.source.kernel, Clock: k.quality(wall)}
	k.observeLocked(at, offset)
	return at
}

// Source returns the name of the source that confirms the wall clock, for a person: the
// kernel, a program or the configuration; empty: none.
func (k *Timekeeper) Source() string {
	switch {
	case k.trust == TrustAlways:
		return "clock.trust: always"
	case k.trust == TrustNever, k.source.name == nil:
		return ""
	}
	return k.source.name()
}

// quality returns how far the wall clock can be trusted when it shows wall (ms since 1970).
func (k *Timekeeper) quality(wall int64) Quality {
	switch {
	case k.trust == TrustAlways:
		return Synced
	case k.trust == TrustNever, wall < oldestPlausible:
		return Unsynced
	}
	return k.source.quality()
}

// observeLocked finds out from a new stamp whether the clock has stepped and when this kernel
// booted. The caller holds mu.
func (k *Timekeeper) observeLocked(at Stamp, offset int64) {
	by := offset - k.offset
	stepped := k.observed && (by >= minStep || by <= -minStep)
	if stepped {
		k.steps = append(k.steps, Step{at, by, k.clock})
		signal(k.wake)
	}
	if anchored := at.Clock == Synced && k.observed && k.clock == Synced; !anchored || stepped {
		k.steady = at.Uptime
		if at.Clock == Synced {
			k.boots.anchor(offset)
			k.version++
		}
	}
	k.observed, k.offset, k.clock = true, offset, at.Clock
}

// Steady returns for how long the wall clock has been trusted without a step; 0: it is not
// trusted.
func (k *Timekeeper) Steady() time.Duration {
	now := k.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Clock != Synced {
		return 0
	}
	return now.Uptime - k.steady
}

// Resolve returns a stamp with the best wall-clock time that is known by now.
//
// A stamp whose clock was trusted stays as it is. Any other stamp of a boot with
// an anchor is calculated from the anchor and becomes [Estimated]; stamps of one
// boot keep their order and distances. A stamp of an earlier boot without an
// anchor is moved between the known boots before and after it; it becomes
// Estimated where these are at most five minutes apart.
func (k *Timekeeper) Resolve(at Stamp) Stamp {
	if at.Clock == Synced {
		return at
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.boots.Resolve(at)
}

// Age returns how long ago a moment was. It is known only for moments of this boot of the
// kernel.
func (k *Timekeeper) Age(at Stamp) (age time.Duration, known bool) {
	return k.AgeAt(k.Uptime(), at)
}

// AgeAt is Age at a given uptime, for a caller with many stamps.
func (k *Timekeeper) AgeAt(uptime time.Duration, at Stamp) (age time.Duration, known bool) {
	return uptime - at.Uptime, at.Kernel == k.source.kernel
}

// Uptime returns how long ago the kernel booted, including suspended time.
func (k *Timekeeper) Uptime() time.Duration { return k.source.uptime().Truncate(time.Millisecond) }

// Restore adds the timeline of an earlier run of the agent.
func (k *Timekeeper) Restore(past Timeline) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.boots = past.with(k.boots[len(k.boots)-1])
	k.version++
}

// Timeline returns a copy of the timeline, to be stored for the next start of the agent.
func (k *Timekeeper) Timeline() Timeline {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append(Timeline(nil), k.boots...)
}

// Version returns a number that grows with each change of Timeline.
func (k *Timekeeper) Version() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version
}

// Details are the details of the event `clock_step`: `by_ms` is how far the
// clock jumped, `was` its quality before, `clock` its quality since.
func (s Step) Details() json.RawMessage {
	b, err := json.Marshal(struct {
		By  int64  `json:"by_ms"`
		Was string `json:"was"`
		Is  string `json:"clock"`
	}{s.By, s.Was.String(), s.At.Clock.String()})
	if err != nil {
		panic(fmt.Sprint("sensors: clock step: ", err)) // strings and numbers always marshal
	}
	return b
}
