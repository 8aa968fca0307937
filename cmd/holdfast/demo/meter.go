package demo

import (
	"context"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A meter counts the samples of the sensors before the agent gets them, for comparison with
// what arrives. Each sample of a simulated house is one reading.
type meter struct {
	open     sensors.Open                                  // of the real driver
	count    func(sensor string, samples []sensors.Sample) // called from the goroutines of all sensors
	sampling context.Context                               // done when the sensors have to stop measuring
}

// Open opens a sensor whose samples the meter counts.
func (m *meter) Open(ctx context.Context, spec sensors.Spec) (sensors.Sensor, error) {
	s, err := m.open(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &metered{s, m, spec.Name}, nil
}

// metered is a sensor whose samples are counted. Like the sensor inside, its Next is called
// by one goroutine.
type metered struct {
	sensors.Sensor
	*meter
	name string
}

// Next measures until the demo ends the sampling. After that it waits for the end of the
// agent, because a reading that is not counted must not be published.
func (s *metered) Next(ctx context.Context) ([]sensors.Sample, error) {
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.sampling, cancel)()
	samples, err := s.Sensor.Next(callCtx)
	if s.sampling.Err() != nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.count(s.name, samples)
	return samples, err
}
