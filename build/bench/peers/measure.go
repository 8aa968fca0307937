package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/holdfast-iot/holdfast/build/bench/mosquitto"
	"github.com/holdfast-iot/holdfast/build/bench/peers/wire"
)

// A result has the figures of one peer. What was not measured is zero.
type result struct {
	peer   string
	bytes  float64 // written to the block device for each reading of an outage
	lost   float64 // readings that were accepted and never arrived
	twice  float64 // readings that arrived twice
	mixed  float64 // readings that arrived after a later one
	accept float64 // readings accepted per second
	first  float64 // seconds from the broker's start to the first reading
	rate   float64 // readings that arrive per second
	cpu    float64 // µs of processor time for each reading that arrives
	memory float64 // MB of anonymous memory: after a drain, or a minute after a large burst
	start  float64 // ms from the start of the process to its first reading at a subscriber
}

// medians are the medians of each figure.
func medians(rounds []result) result {
	m := rounds[0]
	for _, f := range []func(*result) *float64{
		func(r *result) *float64 { return &r.lost }, func(r *result) *float64 { return &r.twice },
		func(r *result) *float64 { return &r.mixed }, func(r *result) *float64 { return &r.accept },
		func(r *result) *float64 { return &r.first }, func(r *result) *float64 { return &r.rate },
		func(r *result) *float64 { return &r.cpu }, func(r *result) *float64 { return &r.memory },
		func(r *result) *float64 { return &r.start },
	} {
		var all []float64
		for i := range rounds {
			all = append(all, *f(&rounds[i]))
		}
		slices.Sort(all)
		*f(&m) = all[len(all)/2]
	}
	return m
}

// brokerConfig removes the broker's own limits, so that they are not measured.
const brokerConfig = "persistence true\npersistence_location %s/\nmax_queued_messages 0\nmax_inflight_messages 0\n"

// away returns a broker that is stopped and has a session of our subscriber.
func away(dir string) (*mosquitto.Broker, error) {
	home, err := os.MkdirTemp(dir, "broker")
	if err != nil {
		return nil, err
	}
	b, err := mosquitto.Start(home, fmt.Sprintf(brokerConfig, home))
	if err != nil {
		return nil, err
	}
	defer b.Stop()
	c, err := wire.Dial(b.Addr, "subscriber", false)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return b, c.Subscribe()
}

// arrivalTimeout is for slow arrivals: some peers wait before they reconnect.
const arrivalTimeout = 45 * time.Second

// outage puts readings while the broker is away, kills the peer with SIGKILL, and starts it
// again with the broker running.
func (p plan) outage(ctx context.Context, k kind) (r result, err error) {
	s, err := p.site(ctx, k, job{N: p.slow, Rate: p.rate, Window: windows[0]})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	before, err := s.disk.written()
	if err != nil {
		return r, err
	}
	err = s.worker.begin()
	if err == nil {
		_, err = s.worker.accepted(ctx)
	}
	s.worker.kill()
	if err != nil {
		return r, err
	}
	after, err := s.disk.written()
	if err != nil {
		return r, err
	}
	a, err := s.backAt()
	if err != nil {
		return r, err
	}
	s.job.N = 0
	if s.worker, err = start(s.job); err != nil {
		return r, err
	}
	if err := s.worker.begin(); err != nil {
		return r, err
	}
	a.wait(ctx, p.slow, arrivalTimeout)
	a.mu.Lock()
	defer a.mu.Unlock()
	return result{peer: k.name, bytes: float64(after-before) / float64(p.slow), lost: float64(p.slow - len(a.seen)),
		twice: float64(a.twice), mixed: float64(a.mixed)}, ctx.Err()
}

// settling is the time between a burst and the return of the broker, in which the peer can
// finish its writes.
const settling = 6 * time.Second

// drain puts a burst while the broker is away, and measures the drain.
func (p plan) drain(ctx context.Context, k kind, window int) (r result, err error) {
	n := p.burst
	if k.slow {
		n = min(n, slowBurst)
	}
	s, err := p.site(ctx, k, job{N: n, Window: window})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.worker.begin(); err != nil {
		return r, err
	}
	took, err := s.worker.accepted(ctx)
	if err != nil {
		return r, err
	}
	if !k.memory {
		sleep(ctx, settling)
	}
	back, busy := time.Now(), s.worker.busy()
	a, err := s.backAt()
	if err != nil {
		return r, err
	}
	a.wait(ctx, n, arrivalTimeout)
	busy, memory := s.worker.busy()-busy, s.worker.anonymous()
	a.mu.Lock()
	defer a.mu.Unlock()
	got := float64(len(a.seen))
	return result{peer: k.name, accept: float64(n) / took.Seconds(), first: a.first.Sub(back).Seconds(),
		rate: got / a.last.Sub(a.first).Seconds(), cpu: float64(busy.Microseconds()) / max(got, 1), memory: memory,
		lost: float64(n) - got, twice: float64(a.twice), mixed: float64(a.mixed)}, ctx.Err()
}

// started is the time from the start of a process to its first reading at a subscriber,
// while the broker is running.
func (p plan) started(ctx context.Context, name string) (r result, err error) {
	s, err := p.empty(job{Peer: name, N: 1, Window: windows[0]})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	a, err := s.backAt()
	if err != nil {
		return r, err
	}
	began := time.Now()
	if s.worker, err = start(s.job); err != nil {
		return r, err
	}
	if err := s.worker.begin(); err != nil {
		return r, err
	}
	a.wait(ctx, 1, arrivalTimeout)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first.IsZero() {
		return r, fmt.Errorf("nothing arrived within %v", arrivalTimeout)
	}
	return result{peer: name, start: float64(a.first.Sub(began).Microseconds()) / 1000}, ctx.Err()
}

// held is the memory a minute after a large burst, while the broker is away.
func (p plan) held(ctx context.Context, k kind) (r result, err error) {
	s, err := p.site(ctx, k, job{N: p.large, Window: windows[0]})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.worker.begin(); err != nil {
		return r, err
	}
	if _, err := s.worker.accepted(ctx); err != nil {
		return r, err
	}
	sleep(ctx, p.rest)
	return result{peer: k.name, memory: s.worker.anonymous()}, ctx.Err()
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// A site is the environment of a peer: a disk, a broker that is away, and the peer's
// process.
type site struct {
	disk   *disk
	broker *mosquitto.Broker
	job    job
	worker *worker
	there  bool // the broker is running again
}

// empty returns a site whose peer has not been started.
func (p plan) empty(j job) (*site, error) {
	d, err := newDisk(p.dir)
	if err != nil {
		return nil, err
	}
	s := &site{disk: d, job: j}
	if s.broker, err = away(p.dir); err != nil {
		return nil, errors.Join(err, d.close())
	}
	s.job.Dir, s.job.Broker, s.job.From = d.mount, s.broker.Addr, 1
	s.job.Agent, s.job.Telegraf = p.agent, p.telegraf
	return s, nil
}

// site returns a site whose peer has opened its files; the broker is away.
func (p plan) site(ctx context.Context, k kind, j job) (*site, error) {
	j.Peer = k.name
	s, err := p.empty(j)
	if err != nil {
		return nil, err
	}
	if k.connects {
		if err := s.broker.Run(); err != nil {
			return nil, errors.Join(err, s.close())
		}
		defer s.broker.Stop()
	}
	if s.worker, err = start(s.job); err == nil {
		err = s.worker.opened(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// backAt starts the broker again, and subscribes.
func (s *site) backAt() (*arrivals, error) {
	if err := s.broker.Run(); err != nil {
		return nil, err
	}
	s.there = true
	return listen(s.broker.Addr)
}

// close stops the peer with SIGTERM, then the broker.
func (s *site) close() error {
	if s.worker != nil {
		s.worker.end()
	}
	if s.there {
		s.broker.Stop()
	}
	return s.disk.close()
}
