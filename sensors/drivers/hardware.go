package drivers

import (
	"context"
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Hardware is the machine that the sensors hang on.
type Hardware struct {
	Dev string // where the device files are, "/dev"
	Sys string // where sysfs is mounted, "/sys"
}

// NewHardware is the machine that the program runs on. Nothing is opened yet.
func NewHardware() *Hardware { return &Hardware{Dev: "/dev", Sys: "/sys"} }

// Open opens the device behind a spec. It is a [sensors.Open].
func (h *Hardware) Open(ctx context.Context, spec sensors.Spec) (sensors.Sensor, error) {
	o, ok := spec.Options.(Options)
	if !ok {
		return nil, fmt.Errorf("sensor %s: no kind %q", spec.Name, spec.Kind)
	}
	return o.Open(ctx, h)
}
