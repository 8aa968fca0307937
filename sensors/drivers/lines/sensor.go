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

// A source provides lines.
type source interface {
	lines() *os.File
	// checkAlive is called after each second without a line. It returns an error if the source
	// is gone: a pipe that was replaced or a program that ended may send no end of file.
	checkAlive() error
	// waitEnded returns why there are no more lines, after their end.
	waitEnded(ctx context.Context) error
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
	lastLine    time.Time // when the last line came
	sourceEnded bool      // the source has ended

	limit     limit
	newest    []newestSample // samples that wait for the limit, at most one of each quantity
	dropped   int            // samples that newer ones replaced since the last notice
	noticedAt time.Time      // time of the last notice; zero: none
}

// A newestSample is a sample with the time of its line.
type newestSample struct {
	sensors.Sample
	at time.Time
}

const (
	checkEvery  = time.Second // bounds one wait for a line
	noticeEvery = time.Hour   // of dropped lines, while there are any
)

// Next waits for a line and returns its samples. If lines come faster than the limit, it drops all
// but the newest value of each quantity, which it returns as soon as the limit allows. The event
// `flapping` says how many were dropped: at once, and then hourly while it goes on.
func (s *sensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	for {
		now := time.Now()
		if len(s.newest) > 0 && (s.sourceEnded || s.limit.take(now)) {
			return s.deliver(now), nil
		}
		if s.sourceEnded {
			return nil, s.source.waitEnded(ctx)
		}
		if s.takeLine(now) {
			continue
		}
		if s.silence > 0 && now.Sub(s.lastLine) >= s.silence {
			return nil, fmt.Errorf("no line in %v", s.silence)
		}
		if err := s.read(ctx, now); err != nil {
			return nil, err
		}
	}
}

// takeLine takes a line from the buffer, and reports whether there was one.
func (s *sensor) takeLine(now time.Time) bool {
	line, ok, err := s.reader.line()
	switch {
	case err != nil:
		s.keep(failAll(s.quantities, err), now)
	case ok && line != "":
		s.keep(parseLine(line, s.quantities), now)
	}
	if ok {
		s.lastLine = now
	}
	return ok
}

// read reads from the source until there is data, the limit allows a sample, or checkEvery has
// passed.
func (s *sensor) read(ctx context.Context, now time.Time) error {
	// A sample that waits for the limit must not wait for the next line.
	until := now.Add(checkEvery)
	if len(s.newest) > 0 {
		until = s.limit.next()
	}
	err := s.reader.fill(ctx, until)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && len(s.newest) > 0:
		return nil // the limit allows a sample now
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s.source.checkAlive()
	// Only from a program: a pipe waits for its next writer.
	case errors.Is(err, io.EOF):
		s.sourceEnded = true
		if line := s.reader.rest(); line != "" {
			s.keep(parseLine(line, s.quantities), now)
		}
		return nil
	}
	return err
}

// keep stores samples until the limit allows them. A sample replaces an older one of its quantity.
func (s *sensor) keep(samples []sensors.Sample, now time.Time) {
	for _, sample := range samples {
		i := 0
		for i < len(s.newest) && s.newest[i].Quantity != sample.Quantity {
			i++
		}
		// There are few quantities, so a linear search is fine.
		if i == len(s.newest) {
			s.newest = append(s.newest, newestSample{})
		} else {
			s.dropped++
		}
		s.newest[i] = newestSample{sample, now}
	}
}

// deliver returns the waiting samples, with a notice if one is due.
func (s *sensor) deliver(now time.Time) []sensors.Sample {
	// A copy, because s.newest is reused.
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
