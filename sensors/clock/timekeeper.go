package clock

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// A Timekeeper stamps moments, and knows how far the wall clock can be trusted
// and when moments truly were that were stamped before anybody knew. It is safe
// for concurrent use.
//
// A Raspberry Pi starts without the time, and may get it hours later, in one
// step. So each moment is told by two clocks: the wall clock, and the time since
// the kernel booted, which nobody sets. The first moment at which both can be
// trusted, an anchor, says when the kernel booted, and with that when every
// other moment of this boot was. See [Timekeeper.Resolve].
type Timekeeper struct {
	trust  Trust
	source clockSource

	mu       sync.Mutex
	boots    Timeline // the last one is this boot of the kernel
	version  uint64   // counts what became known of them
	observed bool
	offset   int64         // ms of the wall clock less those of uptime, at the last look
	clock    Quality       // at the last look
	steady   time.Duration // uptime since when the clock has been trusted and has not stepped
	steps    []Step        // not reported yet
}

// A Step is a jump of the wall clock.
type Step struct {
	At  Stamp   // the first stamp after it; its Clock is the quality since
	By  int64   // how far the clock jumped, in ms; negative: back
	Was Quality // of the clock before the jump
}

const (
	minStep         = 1000              // ms, from one look to the next: more than a clock is slewed in half an hour
	pollEvery       = time.Second       // while nothing is measured
	slowPollEvery   = 10                // looks, until the slower timeSources are asked
	oldestPlausible = 1_767_225_600_000 // 2026-01-01, before the first release: a clock that says less is wrong
)

// NewTimekeeper returns a timekeeper of this machine that asks whom trust says.
func NewTimekeeper(trust Trust) *Timekeeper { return newTimekeeper(trust, kernelClocks()) }

func newTimekeeper(trust Trust, m clockSource) *Timekeeper {
	if trust == TrustAuto {
		m.poll()
	}
	return &Timekeeper{trust: trust, source: m, boots: Timeline{{Kernel: m.kernel}}}
}

// Now stamps this moment. It waits for nobody.
func (k *Timekeeper) Now() Stamp {
	k.mu.Lock()
	defer k.mu.Unlock()
	wall, uptime := k.source.wall().UnixMilli(), k.source.uptime().Truncate(time.Millisecond)
	offset := wall - uptime.Milliseconds()
	if d := offset - k.offset; k.observed && -1 <= d && d <= 1 {
		offset = k.offset // the rounding of two clocks
	}
	at := Stamp{Unix: uptime.Milliseconds() + offset, Uptime: uptime, Kernel: k.source.kernel, Clock: k.quality(wall)}
	k.observeLocked(at, offset)
	return at
}

// vouch says how far the wall clock can be trusted.
func (k *Timekeeper) quality(wall int64) Quality {
	switch {
	case k.trust == TrustAlways:
		return Synced
	case k.trust == TrustNever, wall < oldestPlausible:
		return Unsynced
	}
	return k.source.quality()
}

// observeLocked learns from a stamp: whether the clock has stepped, and when this
// kernel booted.
func (k *Timekeeper) observeLocked(at Stamp, offset int64) {
	by := offset - k.offset
	stepped := k.observed && (by >= minStep || by <= -minStep)
	if stepped {
		k.steps = append(k.steps, Step{at, by, k.clock})
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

// Steady is for how long the wall clock has been trusted and has not stepped,
// 0 if it is not trusted.
func (k *Timekeeper) Steady() time.Duration {
	now := k.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Clock != Synced {
		return 0
	}
	return now.Uptime - k.steady
}

// Resolve tells when a moment truly was, as well as it is known by now.
//
// A moment whose clock was trusted stays as it is. Any other moment of a boot of
// the kernel that was anchored, before or since, is reckoned from the anchor and
// is [Estimated]: those of one anchor keep their order and their distances. A
// moment of an earlier boot that never was is moved between what is known to
// have been before and after it, and is good to minutes where these are close.
func (k *Timekeeper) Resolve(at Stamp) Stamp {
	if at.Clock == Synced {
		return at
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.boots.Resolve(at)
}

// Age is how long ago a moment of this boot of the kernel was.
func (k *Timekeeper) Age(at Stamp) (age time.Duration, known bool) {
	return k.source.uptime().Truncate(time.Millisecond) - at.Uptime, at.Kernel == k.source.kernel
}

// Restore takes over what an earlier start of the agent knew.
func (k *Timekeeper) Restore(past Timeline) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.boots = past.with(k.boots[len(k.boots)-1])
	k.version++
}

// Timeline is what is known of the boots of the kernel, for the next start of
// the agent.
func (k *Timekeeper) Timeline() Timeline {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append(Timeline(nil), k.boots...)
}

// Version counts what became known: while it stays the same, so does Timeline.
func (k *Timekeeper) Version() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.version
}

// Run looks at the clock every second until ctx is done, and reports its steps.
// It returns the error of ctx.
func (k *Timekeeper) Run(ctx context.Context, report func(Step)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if n%slowPollEvery == 0 && k.trust == TrustAuto {
			k.source.poll()
		}
		k.Now()
		for _, s := range k.takeSteps() {
			report(s)
		}
	}
}

func (k *Timekeeper) takeSteps() []Step {
	k.mu.Lock()
	defer k.mu.Unlock()
	steps := k.steps
	k.steps = nil
	return steps
}

// Details are what the event `clock_step` tells of a step: `by_ms` is how far the
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
