package doctor

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
)

func TestDerivedSensorIsNotOpened(t *testing.T) {
	t.Parallel()
	b := healthy(t)
	b.replace("", "  room:", "  dew: {kind: derived, dew_point: {temperature: room_temperature, "+
		"humidity: room_humidity}}\n  room:")
	if b.Config.Sensors[1].Derived == nil {
		t.Fatal("the second sensor is not derived")
	}
	b.Open = func(_ context.Context, spec sensors.Spec) (sensors.Sensor, error) {
		if spec.Derived != nil {
			return nil, errors.New("has no device")
		}
		return steady{spec}, nil
	}
	for _, f := range b.findings() {
		t.Errorf("%+v", f)
	}
}
