package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
)

// readTimeout is long enough for a contact to settle and for a part to warm up.
const readTimeout = 10 * time.Second // for one sensor

// read reads sensors once and prints one line for each stream, STREAM VALUE UNIT. It
// publishes nothing and has no queue, but it opens the devices: while an agent runs,
// devices that only one process may open fail.
//
// It tries all sensors; the exit status is 1 if one of them failed.
func read(ctx context.Context, args []string) error {
	f := flags("read")
	path := configFlag(f)
	// The arguments are names of sensors, any number of them.
	if err := parse(f, args, 1<<16); err != nil {
		return err
	}
	cfg, err := config.Load(ctx, *path)
	if err != nil {
		return err
	}
	// It runs the commands of the file, as the agent does.
	if err := trust(cfg, *path); err != nil {
		return err
	}
	specs, err := choose(cfg, f.Args())
	if err != nil {
		return err
	}
	// Sequentially: parts of one bus would wait for each other anyway, and the output keeps the
	// order of the file.
	failed := 0
	all := newReadings(cfg.Sensors, drivers.NewHardware().Open)
	for _, spec := range specs {
		// After a sensor that fails the next one is still read.
		if err := all.read(ctx, spec, true); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", spec.Name, err)
			failed++
		}
	}
	if failed > 0 { // each was reported above
		return fmt.Errorf("%d of %d sensors could not be read", failed, len(specs))
	}
	return nil
}

// choose returns the named sensors, in the order of the names; all sensors if there are no
// names. An unknown name is a usage error, and then none is read. A sensor that is named
// twice is read twice.
func choose(cfg config.Config, names []string) ([]sensors.Spec, error) {
	all := cfg.Sensors
	if len(names) == 0 {
		return all, nil
	}
	var chosen []sensors.Spec
	for _, name := range names {
		i := slices.IndexFunc(all, func(s sensors.Spec) bool { return s.Name == name })
		if slices.ContainsFunc(cfg.Outputs, func(o outputs.Spec) bool { return o.Stream.Name == name }) {
			// Opening its line would switch the output off.
			return nil, usageError{fmt.Errorf("%s is an output, which is not touched here: see holdfast outputs", name)}
		}
		if i < 0 {
			return nil, usageError{fmt.Errorf("no sensor %q in the configuration, which has %s", name, listNames(all))}
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// listNames lists the names of the sensors, in the order of the configuration.
func listNames(specs []sensors.Spec) string {
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// readings are the results so far.
type readings struct {
	open   sensors.Open
	owners map[string]sensors.Spec // by stream
	values map[string]float64      // by stream, corrected
}

func newReadings(specs []sensors.Spec, open sensors.Open) *readings {
	r := &readings{open: open, owners: map[string]sensors.Spec{}, values: map[string]float64{}}
	for _, spec := range specs {
		for _, st := range spec.Streams {
			r.owners[st.Name] = spec
		}
	}
	return r
}

// read reads a sensor, or computes its stream from others, and prints the values if show is
// set. Its error is about the values that failed.
func (r *readings) read(ctx context.Context, spec sensors.Spec, show bool) error {
	if spec.Derived == nil {
		return r.readOne(ctx, spec, show)
	}
	if spec.Derived.Formula == sensors.Rate {
		fmt.Fprintf(stderr, "%s: a rate needs two values: see holdfast status for that of the agent\n", spec.Name)
		return nil
	}
	var values []float64
	for _, source := range spec.Derived.Sources {
		// The source may have been read already.
		if _, ok := r.values[source.Stream]; !ok {
			if err := r.read(ctx, r.owners[source.Stream], false); err != nil {
				return fmt.Errorf("%s: %w", source.Stream, err)
			}
		}
		v, ok := r.values[source.Stream]
		if !ok {
			return fmt.Errorf("%s: no value", source.Stream)
		}
		values = append(values, v)
	}
	v, err := spec.Derived.Compute(values)
	if err != nil {
		return err
	}
	r.take(spec.Streams[0], v, show)
	return nil
}

// take stores the corrected value of a stream, and prints it if show is set.
func (r *readings) take(st sensors.Stream, v float64, show bool) {
	v = st.Filter.Corrected(v)
	r.values[st.Name] = v
	if show {
		fmt.Fprintf(stdout, "%-24s %s\n", st.Name, valueText(st.Quantity, st.Filter.Rounded(v)))
	}
}

// readOne opens a sensor, reads it once and closes it. It prints the values if show is set.
// A sensor that waits for an event may take all of readTimeout. A quantity that the
// configuration does not name is left out. The error joins those of all quantities and that
// of closing.
func (r *readings) readOne(ctx context.Context, spec sensors.Spec, show bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	sensor, err := r.open(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sensor.Close()) }()
	// The first samples are enough: those of an event are the state at the start.
	samples, err := sensor.Next(ctx)
	if err != nil {
		return err
	}
	for _, sample := range samples {
		i := slices.IndexFunc(spec.Streams, func(s sensors.Stream) bool { return s.Quantity.Name == sample.Quantity })
		if i < 0 { // the configuration does not use this quantity
			continue
		}
		if sample.Err != nil {
			err = errors.Join(err, sample.Err)
			continue
		}
		r.take(spec.Streams[i], sample.Value, show)
	}
	return err
}

// valueText is a value as text. It has as many digits as the value needs, as in the
// payload.
func valueText(q sensors.Quantity, v float64) string {
	if word := q.Word(v); word != "" { // "open" is clearer than 1
		return word
	}
	return strings.TrimSpace(strconv.FormatFloat(v, 'f', -1, 64) + " " + q.Unit)
}
