package config

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

// Kinds for these tests, which are about the parser only: a door that reports events, a
// room that is measured, and a probe with every type of option.
var testKinds = map[string]func() drivers.Options{
	"door":  func() drivers.Options { return &door{Debounce: 20 * time.Millisecond} },
	"room":  func() drivers.Options { return &room{Address: 0x38} },
	"probe": func() drivers.Options { return &probe{} },
}

var testCatalog = catalog{
	open: func(kind string) (drivers.Options, bool) {
		f, ok := testKinds[kind]
		if !ok {
			return nil, false
		}
		return f(), true
	},
	kinds: func() []string { return slices.Sorted(maps.Keys(testKinds)) },
}

func read(text string) (Config, error) { return parse("f.yaml", []byte(text), testCatalog) }

// deaf implements Open, which no kind here uses.
type deaf struct{}

func (deaf) Open(context.Context, *drivers.Hardware) (sensors.Sensor, error) {
	return nil, fmt.Errorf("a test opens nothing")
}

type pin string

func (p *pin) UnmarshalText(text []byte) error {
	*p = pin(strings.TrimPrefix(string(text), "GPIO"))
	if strings.Trim(string(*p), "0123456789") != "" {
		return fmt.Errorf("%q is not a valid pin: write GPIO17", text)
	}
	return nil
}

type door struct {
	deaf
	GPIO     pin           `yaml:"gpio"`
	Class    string        `yaml:"class"`
	Debounce time.Duration `yaml:"debounce"`
}

func (d *door) Check() (ps []drivers.Problem) {
	if d.GPIO == "" {
		ps = append(ps, drivers.Problem{Key: "gpio", Text: "is missing"})
	}
	if d.Debounce > time.Second {
		ps = append(ps, drivers.Problem{Key: "debounce", Text: "must be 1s or less"})
	}
	return ps
}
func (*door) Pace() time.Duration { return 0 }
func (*door) Quantities() []sensors.Quantity {
	return []sensors.Quantity{{Name: "contact", States: []string{"closed", "open"}}}
}
func (d *door) Claims() []string { return []string{"GPIO" + string(d.GPIO)} }

type room struct {
	deaf
	I2C     string `yaml:"i2c"`
	Address uint16 `yaml:"address"`
}

func (o *room) Check() []drivers.Problem {
	if o.I2C == "" {
		return []drivers.Problem{{Text: "needs a bus"}}
	}
	return nil
}
func (*room) Pace() time.Duration { return 30 * time.Second }
func (*room) Quantities() []sensors.Quantity {
	return []sensors.Quantity{{Name: "temperature", Unit: "°C", Class: "temperature"}, {Name: "humidity", Unit: "%"}}
}

type common struct {
	Note string `yaml:"note"`
}

type probe struct {
	deaf
	common
	Text    string             `yaml:"text"`
	On      bool               `yaml:"on"`
	Whole   int                `yaml:"whole"`
	Small   int8               `yaml:"small"`
	Number  float64            `yaml:"number"`
	Wait    time.Duration      `yaml:"wait"`
	Words   []string           `yaml:"words"`
	Pins    []pin              `yaml:"pins"`
	Wave    *wave              `yaml:"wave"`
	Nested  wave               `yaml:"nested"`
	Weights map[string]float64 `yaml:"weights"`
	Hidden  string             // no tag, no key
	Shut    string             `yaml:"-"`
}

type wave struct {
	Mean   float64 `yaml:"mean"`
	Bounds [][]int `yaml:"bounds"`
}

func (*probe) Check() []drivers.Problem { return nil }
func (*probe) Pace() time.Duration      { return time.Second }
func (*probe) Quantities() []sensors.Quantity {
	return []sensors.Quantity{{Name: "level", Class: "distance"}}
}
