package drivers

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
)

func TestNewReturnsSeparateOptions(t *testing.T) {
	for _, kind := range Kinds() {
		a, ok := New(kind)
		b, _ := New(kind)
		if !ok || a == b {
			t.Errorf("%s: %v, %v", kind, a, b)
		}
	}
	if _, ok := New("nothing"); ok {
		t.Error("made options of no kind")
	}
}

func TestClaimsDoNotDependOnThePinForm(t *testing.T) {
	for want, o := range map[string]Claimer{
		"GPIO17":     &contactOptions{GPIO: gpio.SoCPin(17)},
		"i2c-1 0x38": newAHT20().(Claimer),
		"i2c-1 0x76": newBME280().(Claimer),
	} {
		if got := o.Claims(); !slices.Equal(got, []string{want}) {
			t.Errorf("%v, want %s", got, want)
		}
	}
}

func TestHardwareOpensEveryKind(t *testing.T) {
	h := &Hardware{}
	o := &simulatedOptions{Counter: &struct{}{}}
	s, err := h.Open(context.Background(), sensors.Spec{Name: "load", Kind: "simulated", Options: o})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.Open(context.Background(), sensors.Spec{Name: "x", Kind: "nothing"}); err == nil {
		t.Error("opened nothing")
	}
}

// A reload compares options: a sensor with equal options keeps running.
func TestSameOptionsAreEqual(t *testing.T) {
	for word, kind := range kinds {
		if !reflect.DeepEqual(kind.New(), kind.New()) {
			t.Errorf("%s: two options without a difference are not equal", word)
		}
	}
}
