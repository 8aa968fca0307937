package clock

import (
	"context"
	"sync"
	"time"
)

const (
	// checkEvery is the interval between two checks of the clock. The clock can become
	// synchronised without being set, and the kernel does not announce that. The interval is
	// so short that the fastest slew, 8.3 % by default in chrony, does not count as a step:
	// 0.83 s is less than minStep.
	checkEvery = 10 * time.Second
	// checkUnwatched is the same where the kernel does not announce that the clock was set.
	checkUnwatched = time.Second
	// pollEvery is how often the slow sources are asked.
	pollEvery = 10 * time.Second
	// settle is the wait after the clock was set. The program that sets it tells the kernel
	// only in a later call that it is right, and may set it twice.
	settle = time.Second
)

// Run checks the clock until ctx is done, and reports its steps, each about a second after
// the clock was set. It returns ctx.Err(). It is called once.
func (k *Timekeeper) Run(ctx context.Context, report func(Step)) error {
	unwatched := make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		if err := k.source.awaitSet(ctx, k.wake); err != nil && ctx.Err() == nil {
			close(unwatched)
		}
	})
	every, settling, pollAt := checkEvery, false, time.Now().Add(pollEvery)
	next := time.NewTimer(every)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-unwatched:
			unwatched, every = nil, checkUnwatched
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
			pollAt = time.Now().Add(k.untilTick(pollEvery)) // at the same time as a check
		}
		settling = false
		k.Now()
		for _, step := range k.takeSteps() {
			report(step)
		}
	}
}

// takeSteps removes and returns the steps that were not reported yet.
func (k *Timekeeper) takeSteps() []Step {
	k.mu.Lock()
	defer k.mu.Unlock()
	steps := k.steps
	k.steps = nil
	return steps
}

// signal puts a token into a channel of capacity 1, unless it has one. It does not block.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
