package lines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// level is the one quantity of most tests.
var level = []sensors.Quantity{{Name: "level", Unit: "%"}}

func openOf(t testing.TB, o Options) *sensor {
	t.Helper()
	if o.MaxPerSecond == 0 {
		o.MaxPerSecond = 10
	}
	if o.Quantities == nil {
		o.Quantities = []sensors.Quantity{{Name: "value"}}
	}
	s, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// shell is a command that a shell runs.
func shell(t testing.TB, script string, o Options) *sensor {
	t.Helper()
	o.Command = []string{"/bin/sh", "-c", script}
	return openOf(t, o)
}

// said returns the next samples: their values, or the errors.
func said(t testing.TB, s sensors.Sensor) string {
	t.Helper()
	samples, err := s.Next(t.Context())
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, sample := range samples {
		switch {
		case sample.Event != nil:
			words = append(words, sample.Event.Name)
		case sample.Err != nil:
			words = append(words, sample.Quantity+": "+sample.Err.Error())
		default:
			words = append(words, fmt.Sprintf("%s %v", sample.Quantity, sample.Value))
		}
	}
	return strings.Join(words, ", ")
}

func hears(t testing.TB, s sensors.Sensor, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := said(t, s); !strings.Contains(got, w) {
			t.Errorf("%q, want %q", got, w)
		}
	}
}

func TestEachLineIsAValue(t *testing.T) {
	s := shell(t, `printf '45.2\n\n  -3e1 \r\nx\n{"level": 7}\n99'; exec sleep 60`, Options{Quantities: level})
	hears(t, s, "level 45.2", "level -30", `level: "x" is not a number`, "level 7")
}

func TestUnfinishedLineCountsWhenTheCommandEnds(t *testing.T) {
	hears(t, shell(t, `printf '1\n2'`, Options{}), "value 1", "value 2", "sh ended (status 0), and has to go on")
}

func TestStateNamesAreParsed(t *testing.T) {
	s := shell(t, `printf 'open\nclosed\n1\najar\n2\n{"value": true}\n'; exec sleep 60`,
		Options{Quantities: []sensors.Quantity{{Name: "value", States: []string{"closed", "open"}}}})
	hears(t, s, "value 1", "value 0", "value 1", `"ajar" is none of closed, open`, `"2" is none`, "value 1")
}

func TestAnObjectHasAValueForEachQuantity(t *testing.T) {
	s := shell(t, `cat <<'END'
{"level": 45.2, "temperature": 7.1, "pump": "on", "more": [1, 2]}
{"temperature": null, "pump": false}
{"level": "high"}
{"other": 1}
{"level": 1
45
END
exec sleep 60`, Options{Quantities: []sensors.Quantity{
		{Name: "level", Unit: "%"}, {Name: "pump", States: []string{"off", "on"}}, {Name: "temperature", Unit: "°C"},
	}})
	hears(t, s,
		"level 45.2, pump 1, temperature 7.1",
		"pump 0, temperature: temperature: null",
		`level: level: "high" is not a number`,
		`level: "{\"other\": 1}" has no value for level, pump:`,
		"is not a JSON object: unexpected end",
		`"45" is not a JSON object such as {"level": 1}`,
	)
	if q := s.quantities; q[0].Name != "level" || q[1].States == nil || q[2].Unit != "°C" {
		t.Error(q)
	}
}

func TestTooLongLineIsSkippedAndReported(t *testing.T) {
	t.Parallel()
	s := shell(t, `echo 1; head -c 100000 /dev/zero | tr '\0' 7; echo; echo 2; exec sleep 60`, Options{})
	hears(t, s, "value 1", "more than 4096 bytes", "value 2")
}

func TestErrorSaysHowACommandEnded(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		`exit 0`:                          "sh ended (status 0), and has to go on",
		`echo no such device >&2; exit 1`: "sh ended with status 1: no such device",
		`printf 'a\nlast\033[2J\n\n' >&2; exit 3`: "sh ended with status 3: last[2J",
		`kill -KILL $$`:                                 "sh was ended by signal: killed",
		`yes noise | head -c 300000 >&2; exit 4`:        "sh ended with status 4: noise",
		`sleep 60 & echo it holds the pipe >&2; exit 5`: "sh ended with status 5: it holds the pipe",
		`exec >/dev/null; exec sleep 60`:                "sh closed its output and went on",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			hears(t, shell(t, script, Options{}), want)
		})
	}
}

func TestOpenReportsAMissingCommand(t *testing.T) {
	if s, err := Open(Options{Command: []string{"/nowhere/tank-level"}}); !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), "/nowhere/tank-level") {
		t.Error(s, err)
	}
}

func TestSilenceOptionMakesSilenceAFailure(t *testing.T) {
	t.Parallel()
	hears(t, shell(t, `exec sleep 60`, Options{Silence: time.Second}), "no line in 1s")
}

func TestContextEndsTheWait(t *testing.T) {
	s := shell(t, `echo 1; exec sleep 60`, Options{})
	hears(t, s, "value 1")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if samples, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(samples, err)
	}
}

// A flood gives few readings and one event, and the last reading is the newest value.
func TestFloodEndsWithTheNewestValue(t *testing.T) {
	s := shell(t, `yes 1 | head -n 20000; echo 2`, Options{MaxPerSecond: 10})
	var got []string
	for {
		text := said(t, s)
		if strings.Contains(text, "ended") {
			break
		}
		got = append(got, text)
	}
	if last := got[len(got)-1]; !strings.HasPrefix(last, "value 2") || len(got) < 10 || len(got) > 2000 {
		t.Error(len(got), got)
	}
	if n := strings.Count(strings.Join(got, ", "), "flapping"); n != 1 {
		t.Error(n, got)
	}
}

func TestLimitBoundsTheRate(t *testing.T) {
	start := time.Now()
	l, through := newLimit(10, start), 0
	for ms := range 10_000 { // ten seconds of one a millisecond
		now := start.Add(time.Duration(ms) * time.Millisecond)
		was := l.next()
		if l.take(now) {
			through++
			if was.After(now.Add(time.Microsecond)) {
				t.Fatalf("took one at %v, before %v", now.Sub(start), was.Sub(start))
			}
		}
	}
	if through < 108 || through > 110 { // the bucket at the start, and ten a second
		t.Error(through)
	}
	if l.take(start) { // a clock that went back gives nothing
		t.Error("took one in the past")
	}
}

func TestLinesMaySpanReads(t *testing.T) {
	text := "1\n22\r\n\n" + strings.Repeat("x", maxLine-1) + "\n" + strings.Repeat("y", maxLine) + "\n333\n"
	for _, step := range []int{1, 2, 7, 4095, 4096} {
		var r reader
		var got []string
		for i := 0; i < len(text); {
			n := min(step, len(r.buf)-r.n, len(text)-i)
			r.n += copy(r.buf[r.n:], text[i:i+n])
			i += n
			for {
				line, ok, err := r.line()
				if !ok {
					break
				}
				if err != nil {
					line = "too long"
				}
				got = append(got, line)
			}
		}
		want := []string{"1", "22", "", strings.Repeat("x", maxLine-1), "too long", "333"}
		if !slices.Equal(got, want) {
			t.Errorf("%d at a time: %.200q", step, got)
		}
	}
}

// chatter is a source of lines that a test writes.
type chatter struct{ *os.File }

func (c chatter) lines() *os.File                 { return c.File }
func (c chatter) checkAlive() error               { return nil }
func (c chatter) waitEnded(context.Context) error { return io.EOF }

func TestEndlessFloodNeitherBlocksItsWriterNorGrows(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &sensor{source: chatter{r}, reader: reader{file: r}, quantities: []sensors.Quantity{{Name: "value"}},
		limit: newLimit(1000, time.Now())}
	wrote := make(chan int)
	go func() {
		n, _ := w.Write([]byte(strings.Repeat("\n", 200_000))) // more than a pipe holds, and not one value
		w.Close()
		wrote <- n
	}()
	if samples, err := s.Next(t.Context()); err != io.EOF {
		t.Error(samples, err)
	}
	if n := <-wrote; n != 200_000 {
		t.Error(n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"45.2", "open", `{"level": 45.2, "door": "open"}`, `{"level": null}`, "NaN", "1e999",
		"{", `{"level": {}}`, "0x1p4", "1_0"} {
		f.Add(s)
	}
	both := []sensors.Quantity{{Name: "level"}, {Name: "door", States: []string{"closed", "open"}}}
	f.Fuzz(func(t *testing.T, line string) {
		for _, quantities := range [][]sensors.Quantity{both, both[:1], both[1:]} {
			samples := parseLine(line, quantities)
			if len(samples) == 0 || len(samples) > len(quantities) {
				t.Fatalf("%q is %+v", line, samples)
			}
			for _, s := range samples {
				if s.Err == nil && (math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || s.Quantity == "door" &&
					both[1].Word(s.Value) == "") || s.Err != nil && s.Value != 0 {
					t.Errorf("%q is %+v", line, s)
				}
			}
		}
	})
}
