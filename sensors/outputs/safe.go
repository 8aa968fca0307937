package outputs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// BySafe is the cause of a change when a person sets all outputs to their safe level.
const BySafe = "safe"

// Safe sets every output to its safe level, and waits until each has answered or ctx is
// done. The error names the outputs that failed or have not answered, and those that do not
// run because a reload is changing them.
func (s *Set) Safe(ctx context.Context) error {
	type answered struct {
		name string
		Answer
	}
	running, absent := s.all()
	var failed error
	for _, name := range absent {
		failed = errors.Join(failed, fmt.Errorf("%s: is being changed by a reload", name))
	}
	answers := make(chan answered, len(running)) // with room for all: an Answer must not block
	waiting := map[string]bool{}
	for _, o := range running {
		name, safe := o.spec.Stream.Name, o.spec.Safe
		waiting[name] = true
		order := Order{Output: name, On: safe, By: BySafe, Answer: func(a Answer) { answers <- answered{name, a} }}
		if refused := o.inbox.put(order, safe); refused != "" {
			order.answer(refused)
		}
	}
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

// all returns the outputs that run, and the names of those that do not run because a reload
// is changing them, both of the same moment.
func (s *Set) all() (running []*output, absent []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := slices.Clone(s.order)
	for name, stopping := range s.stopping {
		if stopping && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if o := s.running[name]; o != nil {
			running = append(running, o)
		} else {
			absent = append(absent, name)
		}
	}
	return running, absent
}

// MakeSafe sets outputs to their safe level while no agent runs, so that no Set has their
// lines. It opens all lines at the same time and waits at most three seconds or so for one
// that hangs. The error names the outputs that failed.
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
