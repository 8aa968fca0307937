package drivers

import (
	"strings"
	"testing"
	"time"
)

func TestLinesOptionsSayWhatIsWrong(t *testing.T) {
	for want, o := range map[string]*linesOptions{
		"one of file and command":       {Most: 1},
		"needs one of file and command": {Most: 1, File: "/run/x", Command: []string{"x"}},
		"not an absolute path":          {Most: 1, File: "run/x"},
		"begins with nothing":           {Most: 1, Command: []string{""}},
		"beside it":                     {Most: 1, File: "/run/x", Unit: "%", Several: lineKinds{"a": {}}},
		`"a b" is empty or has`:         {Most: 1, File: "/run/x", Quantity: "a b"},
		"is too short":                  {Most: 1, File: "/run/x", States: []string{"on"}},
		"one twice": {Most: 1, File: "/run/x",
			Several: lineKinds{"a": {States: []string{"on", "on"}}}},
		"states have none":            {Most: 1, File: "/run/x", Unit: "%", States: []string{"off", "on"}},
		"0 is not between 1 and 1000": {File: "/run/x"},
		"1ms is shorter than 1s":      {Most: 1, File: "/run/x", Silence: time.Millisecond},
	} {
		if p := o.Check(); len(p) != 1 || !strings.Contains(p[0].Text, want) {
			t.Errorf("%+v: %v, want %q", o, p, want)
		}
	}
}
