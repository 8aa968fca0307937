package drivers

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

func TestLinesOptionsSayWhatIsWrong(t *testing.T) {
	for want, o := range map[string]*linesOptions{
		"one of file and command":       {MaxPerSecond: 1},
		"needs one of file and command": {MaxPerSecond: 1, File: "/run/x", Command: []string{"x"}},
		"not an absolute path":          {MaxPerSecond: 1, File: "run/x"},
		"begins with nothing":           {MaxPerSecond: 1, Command: []string{""}},
		"beside it":                     {MaxPerSecond: 1, File: "/run/x", Unit: "%", Several: lineKinds{"a": {}}},
		`"a b" is empty or has`:         {MaxPerSecond: 1, File: "/run/x", Quantity: "a b"},
		"is too short":                  {MaxPerSecond: 1, File: "/run/x", States: []string{"on"}},
		"one twice": {MaxPerSecond: 1, File: "/run/x",
			Several: lineKinds{"a": {States: []string{"on", "on"}}}},
		"states have none":             {MaxPerSecond: 1, File: "/run/x", Unit: "%", States: []string{"off", "on"}},
		"0 is not between 1 and 1000":  {File: "/run/x"},
		"1ms is not between 1s and 7d": {MaxPerSecond: 1, File: "/run/x", Silence: time.Millisecond},
		"is not between 1s and 7d":     {MaxPerSecond: 1, File: "/run/x", Silence: sensors.MaxEvery + 1},
		"leave it out, a line in a":    {MaxPerSecond: 1, File: "/run/x", Every: time.Minute},
		"999ms is shorter than 1s":     {MaxPerSecond: 1, Command: []string{"x"}, Every: 999 * time.Millisecond},
		"a run without a line":         {MaxPerSecond: 1, Command: []string{"x"}, Every: time.Second, Silence: time.Second},
	} {
		if p := o.Check(); len(p) != 1 || !strings.Contains(p[0].Text, want) {
			t.Errorf("%+v: %v, want %q", o, p, want)
		}
	}
}

// A command with every is paced and measures once for each read; without, it is kept running.
func TestCommandWithEveryRunsForEachMeasurement(t *testing.T) {
	o := &linesOptions{MaxPerSecond: 10, Command: []string{"/bin/echo", "4"}, Every: 30 * time.Second}
	if p := o.Check(); p != nil || o.Pace() != 30*time.Second || !o.RunsCommand() {
		t.Error(p, o.Pace())
	}
	s, err := o.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := next(t, s); got.Value != 4 || got.Quantity != "value" || got.Err != nil {
			t.Errorf("%+v", got)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
