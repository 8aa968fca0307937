package sensors

import "github.com/holdfast-iot/holdfast/sensors/clock"

// stream is the running state of one stream: the stages that a sample passes before it
// becomes a reading. There may be thousands of streams, so the stages that few of them need
// are pointers. A stream belongs to the goroutine of its sampler.
type stream struct {
	*Stream // of the sampler's spec, or of the alarm's limit in it
	record  func(Reading)
	values  *board // gets each value for derived streams; nil: the stream has states, not numbers

	seq     uint64      // of the last reading
	failing bool        // the last reading was a failure
	faults  faults      // failures in a row, of this stream or of the whole sensor
	fails   *failureLog // nil: no sample of the stream has ever failed

	correct *corrector // nil: no correction
	valid   *validator // nil: every number is valid
	window  *window    // nil: each sample is a value
	alarm   *alarm     // nil: none
	alert   *stream    // the stream of the alarm; nil: none
	last    *reported  // nil: each value becomes a reading
}

// newStream returns a stream without a reading, and with it the stream of its alarm if it
// has one. If the stream has numbers, it passes them on to values.
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
		s.alarm = newAlarm(*limit, st.Every)
		s.alert = newStream(&limit.Stream, record, nil)
	}
	return s
}

// process takes a sample. It returns an error if the sample failed or is not valid.
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

// fail notes that there is no sample, and why.
func (st *stream) fail(err error, at clock.Stamp) {
	st.faults.fail(at.Monotonic())
	if st.alarm != nil && st.faults.failures >= faultAfter && st.alarm.lost() {
		st.alert.emit(Reading{At: at, Err: short(err)})
	}
	st.collect(0, err, at)
}

// collect adds a sample, or the error instead of one, to the window. When the window is
// complete, its value is evaluated. If all of its samples failed, the failure becomes a
// reading, but only the first one in a row.
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

// evaluate decides whether a value becomes a reading, a reading of the alarm, or both.
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

// alarmValue returns the index in [AlarmStates]: 0 is ok, 1 is alarm.
func alarmValue(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// emitValue records a reading of a value, with its state word.
func (st *stream) emitValue(v float64, at clock.Stamp) {
	v += 0 // turns -0 into 0: the queue's file does not distinguish them
	st.emit(Reading{At: at, Value: v, State: st.Word(v)})
}

// emit gives a reading its sequence number and records it.
func (st *stream) emit(r Reading) {
	st.seq++
	r.Stream, r.Seq, r.Unit, r.Priority = st.Name, st.seq, st.Unit, st.Priority
	st.record(r)
}

// short returns the first line of an error, at most 200 bytes: a reading carries the reason
// without the stack of a panic.
func short(err error) string {
	text := []byte(err.Error())
	for i, c := range text {
		if c == '\n' || i == 200 {
			return string(text[:i])
		}
	}
	return string(text)
}
