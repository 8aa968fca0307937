package sensors

import "github.com/holdfast-iot/holdfast/sensors/clock"

// stream is the running state of one stream: what a sample passes on its way to
// a reading. There may be thousands: what few streams need is behind a pointer.
type stream struct {
	*Stream // of the sampler's spec, or of the alarm's limit in it
	record  func(Reading)
	values  *board // gets each value; nil: nothing is derived from the stream

	seq     uint64
	failing bool        // its last reading was a failure
	faults  faults      // failures in a row, its own and the sensor's
	fails   *failureLog // nil: no sample of it has ever failed

	correct *corrector // nil: the sensor is right
	valid   *validator // nil: every number is believed
	window  *window    // nil: each sample counts by itself
	alarm   *alarm     // nil: none
	alert   *stream
	last    *reported // nil: each value is worth a reading
}

// newStream is a stream without a reading. Its alarm, if it has one, makes a stream
// of its own. Numbers are also passed on to the streams that are derived from them.
func newStream(st *Stream, record func(Reading), values *board) *stream {
	s := &stream{Stream: st, record: record, correct: newCorrector(st.Filter.Correction)}
	if len(st.States) == 0 {
		s.values = values
	}
	if st.Filter.Valid != (Valid{}) {
		s.valid = &validator{Valid: st.Filter.Valid, unit: st.Unit}
	}
	if n := max(st.Filter.Average, st.Filter.Median); n > 1 {
		s.window = &window{samples: n, span: st.Every, median: n == st.Filter.Median}
	}
	if st.Filter.Report != (Report{}) {
		s.last = &reported{Report: st.Filter.Report, every: st.Every}
	}
	if limit := st.Filter.Alarm; limit != nil {
		s.alarm = &alarm{Limit: *limit}
		s.alert = newStream(&limit.Stream, record, nil)
	}
	return s
}

// process takes a sample. The error says why it was not good.
func (st *stream) process(sample Sample, at clock.Stamp) error {
	v, err := sample.Value, sample.Err
	if err == nil {
		v = st.correct.correct(v)
		err = st.valid.check(v)
	}
	if err != nil {
		st.fail(err, at)
		return err
	}
	st.collect(v, nil, at)
	return nil
}

// fail takes the absence of a sample.
func (st *stream) fail(err error, at clock.Stamp) {
	st.faults.fail(at.Monotonic())
	if st.alarm != nil && st.faults.failures >= faultAfter && st.alarm.lost() {
		st.alert.emit(Reading{At: at, Err: short(err)})
	}
	st.collect(0, err, at)
}

// collect adds a sample, or the reason why there is none, to the window. When that is
// complete its value becomes a reading, or the first failure of a row does.
func (st *stream) collect(v float64, err error, at clock.Stamp) {
	got, failed, done := average{v, v}, err, true
	if st.window != nil {
		got, failed, done = st.window.add(v, err, at.Monotonic())
	}
	if done && st.values != nil {
		st.values.publish(st.Stream, measurement{got.rounded, failed, at})
	}
	switch {
	case !done:
	case failed == nil:
		st.evaluate(got, at)
	case !st.failing:
		st.failing = true
		if st.last != nil {
			st.last.forget()
		}
		st.emit(Reading{At: at, Err: short(failed)})
	}
}

// evaluate decides what becomes of a value: a reading, an alarm, both or nothing.
func (st *stream) evaluate(v average, at clock.Stamp) {
	st.failing = false
	if places := st.Filter.Precision; places != nil {
		v.rounded = v.roundedTo(*places)
	}
	if st.alarm != nil {
		if on, changed := st.alarm.evaluate(v.value, at.Monotonic()); changed {
			st.alert.emitValue(alarmValue(on), at)
		}
	}
	if st.last == nil || st.last.shouldReport(v, at.Monotonic()) {
		st.emitValue(v.rounded, at)
	}
}

// alarmValue is the value of sensors.AlarmStates: 0 is ok, 1 is alarm.
func alarmValue(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// emitValue makes a reading of a value, with the word of its state.
func (st *stream) emitValue(v float64, at clock.Stamp) {
	v += 0 // never -0, which the queue's file does not tell from 0
	st.emit(Reading{At: at, Value: v, State: st.Word(v)})
}

// emit makes a reading: from here on it has a number.
func (st *stream) emit(r Reading) {
	st.seq++
	r.Stream, r.Seq, r.Unit, r.Priority = st.Name, st.seq, st.Unit, st.Priority
	st.record(r)
}

// short is the first line of an error, at most 200 bytes: the reason that
// travels with a reading, without a stack.
func short(err error) string {
	text := []byte(err.Error())
	for i, c := range text {
		if c == '\n' || i == 200 {
			return string(text[:i])
		}
	}
	return string(text)
}
