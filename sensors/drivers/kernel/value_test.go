package kernel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
)

func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0", "-12.345000000", "102.129031250", "1e3", "NaN", "0x10",
		"-", "1.", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := Decimal(text)
		if err == nil && (x > 1e18 || x < -1e18 || x != x) {
			t.Errorf("%q is %v", text, x)
		}
		if err != nil && strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestFailedQuantityDoesNotAffectOthers(t *testing.T) {
	two := []sensors.Quantity{{Name: "temperature"}, {Name: "humidity"}}
	broken := errors.New("broken")
	for _, c := range []struct {
		errs []error
		want string
	}{
		{[]error{nil, nil}, "[{temperature 20} {humidity 21}]"},
		{[]error{nil, broken}, "[{temperature 20} {humidity broken}]"},
		{[]error{broken, broken}, "broken"}, // the device has gone
	} {
		samples, err := Gather(t.Context(), two, func(i int) (float64, error) { return float64(20 + i), c.errs[i] })
		var got []string
		for _, s := range samples {
			if s.Err != nil {
				got = append(got, fmt.Sprintf("{%s %v}", s.Quantity, s.Err))
			} else {
				got = append(got, fmt.Sprintf("{%s %v}", s.Quantity, s.Value))
			}
		}
		if text := fmt.Sprint(got); err == nil && text != c.want || err != nil && err.Error() != c.want {
			t.Errorf("%v: %v, %v; want %s", c.errs, got, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Gather(ctx, two, func(int) (float64, error) { t.Error("read after the end"); return 0, nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestImpossibleValuesAreRejectedAndNearOnesCut(t *testing.T) {
	for _, c := range []struct {
		quantity string
		value    float64
		want     float64
		refused  bool
	}{
		{quantity: "temperature", value: -273.15, want: -273.15},
		{quantity: "temperature", value: -273.16, refused: true},
		{quantity: "humidity", value: 104.9, want: 100},
		{quantity: "humidity", value: -4.9, want: 0},
		{quantity: "humidity", value: 105.1, refused: true},
		{quantity: "carbon_dioxide", value: -1, refused: true},
		{quantity: "speed", value: math.NaN(), refused: true},
		{quantity: "pressure", value: -3, want: -3}, // it may be a difference of two
		{quantity: "level", value: -1e9, want: -1e9},
	} {
		got, err := Possible("in_x", sensors.Quantity{Name: c.quantity, Unit: "u"}, c.value)
		if (err != nil) != c.refused || err == nil && got != c.want {
			t.Errorf("%s %v: %v, %v", c.quantity, c.value, got, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "in_x: ") {
			t.Error(err)
		}
	}
}

func TestThousandths(t *testing.T) {
	for text, want := range map[string]float64{"48312": 48.312, "-500": -0.5, "0": 0} {
		if got, err := Thousandths(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1.5", "0x10", "99999999999"} {
		if got, err := Thousandths(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
