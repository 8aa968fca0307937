package clock

import (
	"context"
	"sync"
	"time"
)

const (
	// lookEvery is how often the clock is looked at while nothing is measured and
	// nobody sets it. Whether it is synchronised changes without being set, and the
	// kernel does not announce that. It is short enough that the fastest slew, the
	// 8.3 % of chrony's default, is not taken for a step: 0.83 s is below minStep.
	lookEvery = 10 * time.Second
	// lookUnwatched is the same where the kernel does not tell when it is set.
	lookUnwatched = time.Second
	// pollEvery is how often the slow sources are asked.
	pollEvery = 10 * time.Second
	// settle is how long a clock that was set is left alone. The program that sets
	// it tells the kernel in a later call that it is right, and may set it twice.
	settle = time.Second
)

// Run looks at the clock until ctx is done, and reports its steps, each about a
// second after the clock was set. It returns the error of ctx.
func (k *Timekeeper) Run(ctx context.Context, report func(Step)) error {
	unwatched := make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		if err := k.source.awaitSet(ctx, k.wake); err != nil && ctx.Err() == nil {
			close(unwatched)
		}
	})
	every, settling, pollAt := lookEvery, false, time.Now().Add(pollEvery)
	next := time.NewTimer(every)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-unwatched:
			unwatched, every = nil, lookUnwatched
			next.Reset(k.untilTick(every))
			continue
		case <-k.wake:
			if !settling {
				settling = true
				next.Reset(min(settle, every))
			}
			continue
		case <-next.C:
			next.Reset(k.untilTick(every))
		}
		if k.trust == TrustAuto && (settling || !time.Now().Before(pollAt)) {
			k.source.poll()
			pollAt = time.Now().Add(k.untilTick(pollEvery)) // with a look
		}
		settling = false
		k.Now()
		for _, step := range k.takeSteps() {
			report(step)
		}
	}
}

// takeSteps returns the steps that were not reported yet, and forgets them.
func (k *Timekeeper) takeSteps() []Step {
	k.mu.Lock()
	defer k.mu.Unlock()
	steps := k.steps
	k.steps = nil
	return steps
}

// signal leaves a token in a channel that has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
