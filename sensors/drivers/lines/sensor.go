package lines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A source is where lines come from.
type source interface {
	lines() *os.File
	// checkAlive finds out, after a second without a line, whether the source is gone: a pipe
	// that was replaced or a program that ended may send no end of file.
	checkAlive() error
	// ended says why there will be no more lines, after their end.
	ended(ctx context.Context) error
	io.Closer
}

// A sensor is an open source of lines.
//
//	source ─▶ reader ─▶ parse ─▶ newest of each quantity ─▶ limit ─▶ samples
type sensor struct {
	source      source
	reader      reader
	quantities  []sensors.Quantity
	silence     time.Duration
	heard       time.Time // when there was a line
	sourceEnded bool      // the source has ended

	limit     limit
	newest    []newestSample // what waits for the limit, at most one of each quantity
	dropped   int            // samples that newer ones replaced since the last notice
	noticedAt time.Time      // when the last notice was; zero: never
}

// A newestSample is a sample with the time at which its line came.
type newestSample struct {
	sensors.Sample
	at time.Time
}

const (
	checkEvery  = time.Second // bounds one wait for a line
	noticeEvery = time.Hour   // of dropped lines, while there are any
)

// Next waits for a line and returns what it says. Lines that come faster than the
// limit are dropped, all but the newest value of each quantity, which follows
// as soon as the limit allows: a flood ends with what is true. A notice,
// `flapping`, says how many were dropped: at once, and then hourly while they go on.
func (s *sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	for {
		now := time.Now()
		if len(s.newest) > 0 && (s.sourceEnded || s.limit.take(now)) {
			return s.deliver(now), nil
		}
		if s.sourceEnded {
			return nil, s.source.ended(ctx)
		}
		if s.takeLine(now) {
			continue
		}
		if s.silence > 0 && now.Sub(s.heard) >= s.silence {
			return nil, fmt.Errorf("no line in %v", s.silence)
		}
		if err := s.read(ctx, now); err != nil {
			return nil, err
		}
	}
}

// takeLine takes a line that is in memory, and reports whether there was one.
func (s *sensor) takeLine(now time.Time) bool {
	line, ok, err := s.reader.line()
	switch {
	case err != nil:
		s.keep(failed(s.quantities, err), now)
	case ok && line != "":
		s.keep(parseLine(line, s.quantities), now)
	}
	if ok {
		s.heard = now
	}
	return ok
}

// read reads from the source until there may be a reason to act.
func (s *sensor) read(ctx context.Context, now time.Time) error {
	// What waits for the limit must not wait for a line.
	until := now.Add(checkEvery)
	if len(s.newest) > 0 {
		until = s.limit.next()
	}
	err := s.reader.fill(ctx, until)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && len(s.newest) > 0:
		return nil // it was the limit's turn, and there may be more to read
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s.source.checkAlive()
	// Of a program; a pipe waits for its next writer.
	case errors.Is(err, io.EOF):
		s.sourceEnded = true
		if line := s.reader.rest(); line != "" {
			s.keep(parseLine(line, s.quantities), now)
		}
		return nil
	}
	return err
}

// keep lets samples wait for the limit, each in place of an older one.
func (s *sensor) keep(samples []sensors.Sample, now time.Time) {
	for _, sample := range samples {
		i := 0
		for i < len(s.newest) && s.newest[i].Quantity != sample.Quantity {
			i++
		}
		// The list is as long as there are quantities: a search is cheaper than a map.
		if i == len(s.newest) {
			s.newest = append(s.newest, newestSample{})
		} else {
			s.dropped++
		}
		s.newest[i] = newestSample{sample, now}
	}
}

// deliver returns what waits, and a notice if it is time for one.
func (s *sensor) deliver(now time.Time) []sensors.Sample {
	// The copy is the caller's: s.newest is used again.
	samples := make([]sensors.Sample, len(s.newest), len(s.newest)+1)
	for i, n := range s.newest {
		samples[i] = n.Sample
		samples[i].Ago = now.Sub(n.at)
	}
	s.newest = s.newest[:0]
	if s.dropped > 0 && (s.noticedAt.IsZero() || now.Sub(s.noticedAt) >= noticeEvery) {
		e := sensors.NewEvent("flapping", map[string]any{"dropped": s.dropped, "most": s.limit.perSecond})
		samples = append(samples, sensors.Sample{Quantity: s.quantities[0].Name, Event: &e})
		s.dropped, s.noticedAt = 0, now
	}
	return samples
}

// Close closes the pipe, or ends the program.
func (s *sensor) Close() error { return s.source.Close() }
