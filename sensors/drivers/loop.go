package drivers

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// loop is a supervised loop, as an alarm panel has it: a resistor at the end of
// the line makes the voltage tell a contact from a cable that was cut or bridged.
//
//	supply ──[pull_up]──┬── input
//	                    └──── cable ──── far end ──── cable ──── ground
//
//	far end, `contact`, which opens:    ──┬──/ ──┬──[end_of_line]──
//	                                      └─[R]──┘
//	far end, `series`, which closes:    ──┬──/ ──[R]────┬──
//	                                      └[end_of_line]┘
//
// From ground to supply the voltages are those of short, closed, open and cut:
// with `contact`, closed is end_of_line, and open that and R; with `series`,
// closed is both beside each other, and open end_of_line alone. The states part
// midway between two voltages, and a tenth of the narrowest band beyond that, so
// that a voltage which hovers there does not flap.
type loop struct {
	// of the pull-up; 3.3V unless given
	Supply volts `yaml:"supply"`
	// from the supply to the input, in ohms: 1k
	PullUp ohms `yaml:"pull_up"`
	// at the end of the cable: 1k
	EndOfLine ohms `yaml:"end_of_line"`
	// across a contact that opens, the pair in line with end_of_line: 1k
	Contact ohms `yaml:"contact"`
	// in line with a contact that closes, the pair beside end_of_line: 1k
	Series ohms `yaml:"series"`
	// in place of the resistors, where the states short, closed and open end: {short: 0.8V,
	// closed: 1.9V, open: 2.7V}; what is above is cut
	Bands *loopBands `yaml:"bands"`
	// how long the loop has to be otherwise; 200ms unless given
	Debounce time.Duration `yaml:"debounce"`
}

// loopBands are the highest voltages of three states.
type loopBands struct {
	Short  volts `yaml:"short"`
	Closed volts `yaml:"closed"`
	Open   volts `yaml:"open"`
}

// The values 0 and 1 are those of a contact; 2 and 3 are the faults. loopValues has the values
// in the order of the voltages, from ground up.
var (
	loopStates = sensors.Quantity{Name: "loop", States: []string{"closed", "open", "short", "cut"}}
	loopValues = [4]float64{2, 0, 1, 3}
)

// loopInterval is the longest time between two measurements of a loop.
const loopInterval = 100 * time.Millisecond

// supply returns the supply voltage: the 3.3 V of the Pi unless the file has another.
func (l *loop) supply() volts {
	if l.Supply == 0 {
		return 3.3
	}
	return l.Supply
}

// debounce returns the debounce time. Its default is longer than that of a contact: a cable of
// some hundred metres picks up hum, and nobody opens and shuts a door within 200 ms.
func (l *loop) debounce() time.Duration {
	if l.Debounce == 0 {
		return 200 * time.Millisecond
	}
	return l.Debounce
}

// check returns the mistakes below the key `loop`.
func (l *loop) check() (problems []Problem) {
	if d := l.debounce(); d < 50*time.Millisecond || d > maxDebounce {
		problems = append(problems, problem("loop.debounce", "%v is not between 50ms and %v", d, maxDebounce))
	}
	resistors := l.PullUp != 0 || l.EndOfLine != 0 || l.Contact != 0 || l.Series != 0
	switch {
	case l.Bands != nil && resistors:
		return append(problems, problem("loop", "takes bands or resistors, not both"))
	case l.Bands != nil:
		return append(problems, l.checkBands()...)
	}
	return append(problems, l.checkResistors()...)
}

// checkBands makes sure that every state has a band of its own.
func (l *loop) checkBands() []Problem {
	b := l.Bands
	if b.Short > 0 && b.Short < b.Closed && b.Closed < b.Open && b.Open < l.supply() {
		return nil
	}
	return []Problem{problem("loop.bands", "short %v, closed %v and open %v have to rise, from above 0V to below the "+
		"supply of %v", b.Short, b.Closed, b.Open, l.supply())}
}

// checkResistors makes sure that the four voltages are far enough apart.
func (l *loop) checkResistors() (problems []Problem) {
	if l.PullUp <= 0 {
		problems = append(problems, problem("loop.pull_up",
			"is missing: the resistor from the supply to the input, as in 1k"))
	}
	if l.EndOfLine <= 0 {
		problems = append(problems, problem("loop.end_of_line",
			"is missing: the resistor at the end of the cable, as in 1k"))
	}
	if (l.Contact > 0) == (l.Series > 0) {
		problems = append(problems, problem("loop", "needs one of contact (the resistor across a contact that opens) "+
			"and series (the one in line with a contact that closes)"))
	}
	if problems != nil {
		return problems
	}
	const minApart = 0.06 // of the supply: for resistors of 1 % and a cable of some ohms
	levels := l.levels()
	for i := range 3 {
		if apart := levels[i+1] - levels[i]; apart < minApart*float64(l.supply()) {
			problems = append(problems, problem("loop",
				"%s and %s would be %.2gV apart, too near to tell: take resistors more alike, such as 1k each",
				loopWord(i), loopWord(i+1), apart))
		}
	}
	return problems
}

// loopWord is the word for a band, for a message.
func loopWord(band int) string { return loopStates.States[int(loopValues[band])] }

// levels returns the voltages of short, closed, open and cut, in V.
func (l *loop) levels() [4]float64 {
	eol := float64(l.EndOfLine)
	closed, open := eol, eol+float64(l.Contact)
	if series := float64(l.Series); series > 0 {
		closed, open = eol*series/(eol+series), eol
	}
	supply, pull := float64(l.supply()), float64(l.PullUp)
	return [4]float64{0, supply * closed / (closed + pull), supply * open / (open + pull), supply}
}

// ends returns the highest voltages of short, closed and open, in V.
func (l *loop) ends() (ends [3]float64) {
	if b := l.Bands; b != nil {
		return [3]float64{float64(b.Short), float64(b.Closed), float64(b.Open)}
	}
	levels := l.levels()
	for i := range ends {
		ends[i] = (levels[i] + levels[i+1]) / 2
	}
	return ends
}

// watch returns a loopWatch that has seen no voltage.
func (l *loop) watch() loopWatch {
	ends := l.ends()
	narrowest := min(ends[0], ends[1]-ends[0], ends[2]-ends[1], float64(l.supply())-ends[2])
	return loopWatch{ends: ends, margin: narrowest / 10, hold: l.debounce(), seen: -1, reported: -1}
}

// loopWatch finds the state of a loop. It reads no clock and no hardware: the caller passes
// what was measured and when.
type loopWatch struct {
	ends   [3]float64    // the highest voltages of short, closed and open, in V
	margin float64       // hysteresis: a voltage leaves its band so many V beyond the end
	hold   time.Duration // how long the state has to differ from the reported one

	seen     int       // the band of the last voltage; -1: none yet
	reported int       // the band reported last; -1: none yet
	since    time.Time // when it left the reported band
}

// observe takes a voltage. It returns the state and true if the state has to be reported: the
// loop has been in other states than the reported one for the whole time hold, even if not
// always in the same. So a loop that changes all the time is reported, and a state that it
// only passes through is not.
func (w *loopWatch) observe(v float64, at time.Time) (value float64, changed bool) {
	was := w.seen
	w.seen = w.band(v)
	if w.seen == w.reported {
		return 0, false
	}
	// It has just left the state that was reported.
	if was == w.reported {
		w.since = at
	}
	if at.Sub(w.since) < w.hold {
		return 0, false
	}
	w.reported = w.seen
	return loopValues[w.reported], true
}

// band returns the band of a voltage. The band of the last voltage is wider by the margin.
func (w *loopWatch) band(v float64) (band int) {
	for i, end := range w.ends {
		switch w.seen {
		case i:
			end += w.margin
		case i + 1:
			end -= w.margin
		}
		if v > end {
			band = i + 1
		}
	}
	return band
}

// loopSensor is a supervised loop at an input.
type loopSensor struct {
	*ads1115
	loop  *loop
	watch loopWatch
}

// Next returns the first state after it was stable for the debounce time, and then each
// change.
func (s *loopSensor) Next(ctx context.Context) ([]sensors.Sample, error) {
	for {
		v, err := s.volts(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.loop.checkVoltage(v); err != nil {
			return nil, s.Explain(err)
		}
		if value, changed := s.watch.observe(v, time.Now()); changed {
			return []sensors.Sample{{Quantity: loopStates.Name, Value: value}}, nil
		}
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// checkVoltage refuses a voltage that the loop cannot have made.
func (l *loop) checkVoltage(v float64) error {
	if supply := float64(l.supply()); v > 1.1*supply || v < -0.1*supply {
		return fmt.Errorf("%.2fV on a loop with a supply of %v (another voltage on the cable? is supply right?)",
			v, l.supply())
	}
	return nil
}

// wait waits until the loop is to be measured again.
func (s *loopSensor) wait(ctx context.Context) error {
	return host.Sleep(ctx, min(loopInterval, s.loop.debounce()/2))
}
