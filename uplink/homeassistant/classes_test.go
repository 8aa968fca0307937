package homeassistant

import (
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
)

// An haClass is what Home Assistant takes of a device class of numbers.
type haClass struct {
	states []string
	units  []string // "" is none; nil: any
}

// haBinaryClasses are Home Assistant's device classes of two states, from the page "Binary
// sensor" of its documents without glass_break, which 2026.9 did not have.
var haBinaryClasses = words("battery battery_charging carbon_monoxide cold connectivity door garage_door gas heat " +
	"light lock moisture motion moving occupancy opening plug power presence problem running safety smoke sound " +
	"tamper update vibration window")

// haSensorClasses are Home Assistant's device classes of numbers, as its own documents and
// sources have them: nothing of the table under test.
func haSensorClasses(t *testing.T) map[string]haClass {
	t.Helper()
	all, err := readClasses()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// readClasses reads the file once: a thousand entities are checked against it.
var readClasses = sync.OnceValues(func() (map[string]haClass, error) {
	text, err := os.ReadFile("testdata/sensor-classes.txt")
	all := map[string]haClass{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		part := strings.Split(strings.TrimSpace(line), " | ")
		c := haClass{states: strings.Split(part[1], ", ")}
		for unit := range strings.SplitSeq(part[2], ", ") {
			switch unit {
			case "*":
			case "-":
				c.units = append(c.units, "")
			default:
				c.units = append(c.units, unit)
			}
		}
		all[part[0]] = c
	}
	return all, err
})

// TestClassesAndUnitsAreThoseOfHomeAssistant, both ways: what it takes is accepted and
// announced, and what it refuses is not.
func TestClassesAndUnitsAreThoseOfHomeAssistant(t *testing.T) {
	theirs := haSensorClasses(t)
	if len(theirs) != 58 {
		t.Errorf("%d classes in the file", len(theirs))
	}
	units := map[string]bool{"": true, "bogus": true, "EUR": true}
	for class, c := range theirs {
		for _, unit := range c.units {
			units[unit] = true
		}
		if ours := list(sensorClasses[class].stateClasses); !equalSets(ours, c.states) {
			t.Errorf("%s: the state classes are %q, want %q", class, ours, c.states)
		}
	}
	for class := range sensorClasses {
		if _, ok := theirs[class]; !ok {
			t.Errorf("Home Assistant has no class %s", class)
		}
	}
	for class, c := range theirs {
		for unit := range units {
			s := sensors.Stream{Name: "s", Quantity: sensors.Quantity{Unit: unit, Class: class}}
			takes := c.units == nil || slices.Contains(c.units, unit)
			if problem := ClassProblem(s); (problem == "") != takes {
				t.Errorf("%s in %q: Home Assistant takes it: %v; we say %q", class, unit, takes, problem)
			}
			got := house("homeassistant").entity(s)
			if got.Unit != unit || (got.DeviceClass == class) != takes {
				t.Errorf("%s in %q is announced as %q in %q", class, unit, got.DeviceClass, got.Unit)
			}
		}
	}
}

// TestClassesOfTwoStatesAreThoseOfHomeAssistant, both ways.
func TestClassesOfTwoStatesAreThoseOfHomeAssistant(t *testing.T) {
	if !slices.Equal(binaryClasses, haBinaryClasses) {
		t.Errorf("got  %q\nwant %q", binaryClasses, haBinaryClasses)
	}
}

func equalSets(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestBothMicroSignsAreAccepted: Home Assistant changes one into the other, and people type both.
func TestBothMicroSignsAreAccepted(t *testing.T) {
	for _, unit := range []string{"\u00b5g/m³", "\u03bcg/m³"} {
		if problem := ClassProblem(sensors.Stream{Quantity: sensors.Quantity{Unit: unit, Class: "pm4"}}); problem != "" {
			t.Errorf("%+q: %s", unit, problem)
		}
	}
}

// TestNoClassHasAUnitTwice: a table that is written by hand has such mistakes.
func TestNoClassHasAUnitTwice(t *testing.T) {
	for _, class := range slices.Sorted(maps.Keys(sensorClasses)) {
		units := slices.Sorted(slices.Values(list(sensorClasses[class].units)))
		if n := len(slices.Compact(slices.Clone(units))); n != len(units) {
			t.Errorf("%s: %q", class, units)
		}
	}
}
