package outputs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// BySafe is the cause where a person has all outputs made safe.
const BySafe = "safe"

// Safe makes every output safe, and waits until each has answered or ctx is done. The error
// says which have not.
func (s *Set) Safe(ctx context.Context) error {
	type answered struct {
		name string
		Answer
	}
	all := s.Status()
	answers := make(chan answered, len(all)) // with room for each: an output must not wait
	waiting := map[string]bool{}
	for _, o := range all {
		waiting[o.Name] = true
		s.mu.RLock()
		running := s.running[o.Name]
		s.mu.RUnlock()
		on := running != nil && running.spec.Safe
		s.Do(Order{Output: o.Name, On: on, By: BySafe, Answer: func(a Answer) { answers <- answered{o.Name, a} }})
	}
	var failed error
	for len(waiting) > 0 {
		select {
		case a := <-answers:
			delete(waiting, a.name)
			if !a.Done {
				failed = errors.Join(failed, fmt.Errorf("%s: %s", a.name, a.Why))
			}
		case <-ctx.Done():
			for name := range waiting {
				failed = errors.Join(failed, fmt.Errorf("%s: does not answer", name))
			}
			return failed
		}
	}
	return failed
}

// MakeSafe makes lines safe that no Set has: no agent runs. It opens all at once, and
// waits for one that hangs no longer than a second or two. The error says which are not.
func MakeSafe(ctx context.Context, specs []Spec, open Open) error {
	failed := make(chan error, len(specs))
	for _, spec := range specs {
		go func() {
			p := port{spec: spec, open: open}
			err := p.set(ctx, spec.Safe)
			if err == nil {
				time.Sleep(settleTime) // as at the end of an agent
			}
			if err = errors.Join(err, p.closeLine(ctx)); err != nil {
				err = fmt.Errorf("%s: %w", spec.Stream.Name, err)
			}
			failed <- err
		}()
	}
	var all error
	for range specs {
		all = errors.Join(all, <-failed)
	}
	return all
}
