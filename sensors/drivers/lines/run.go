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

// maxRun is how long one run may take. With termGrace it is shorter than the 10 s that a sampler
// waits for a measurement, so that the error of the run is reported, not a timeout.
const maxRun = 7 * time.Second

// A runner runs a program for each measurement, which is what the program writes before it ends.
// Nothing runs between two measurements. Only one goroutine at a time may use a runner, so there is
// one run at a time.
type runner struct {
	args       []string
	quantities []sensors.Quantity
	limit      time.Duration // of one run
}

// OpenRuns returns a sensor whose Next runs the command once, for at most 7 s. It starts nothing
// yet.
func OpenRuns(command []string, quantities []sensors.Quantity) sensors.Sensor {
	return &runner{command, quantities, maxRun}
}

// Next runs the program and returns the newest value of each quantity that it wrote. A run
// that ends with a status other than 0, is ended by a signal, takes too long or writes no line is
// an error, even if it wrote lines. When Next returns, the program and its group have ended, except
// for processes that hang in the kernel.
func (r *runner) Next(ctx context.Context) ([]sensors.Sample, error) {
	c, err := startCommand(r.args, nil)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	samples, err := r.collect(limited, c)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		c.drainStderr()
		err = c.errorWithStderr(fmt.Sprintf("took longer than %v and was ended", r.limit))
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return nil, err
	}
	return samples, nil
}

// collect reads what the program writes until it has ended.
func (r *runner) collect(ctx context.Context, c *command) ([]sensors.Sample, error) {
	written := &sensor{source: c, reader: reader{file: c.lines()}, quantities: r.quantities}
	for !written.sourceEnded {
		if written.takeLine(time.Now()) {
			continue
		}
		if err := written.readRun(ctx, c); err != nil {
			return nil, err
		}
	}
	if !c.await(ctx, 2*r.limit) { // ctx ends earlier
		return nil, ctx.Err()
	}
	if err := c.failure(); err != nil {
		return nil, err
	}
	if len(written.newest) == 0 {
		return nil, c.errorWithStderr("wrote no line")
	}
	samples := make([]sensors.Sample, len(written.newest))
	for i, n := range written.newest {
		samples[i] = n.Sample
	}
	return samples, nil
}

// readRun reads more from a program that will end. If it has ended and left a child process that
// holds its output open, readRun ends the group: the end of the output follows.
func (s *sensor) readRun(ctx context.Context, c *command) error {
	err := s.reader.fill(ctx, time.Now().Add(period))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.drainStderr()
		if c.exited() {
			return c.end()
		}
		return nil
	case errors.Is(err, io.EOF):
		s.sourceEnded = true
		if line := s.reader.rest(); line != "" {
			s.keep(parseLine(line, s.quantities), time.Now())
		}
		return nil
	}
	return err
}

// Close does nothing: each run has ended.
func (r *runner) Close() error { return nil }
