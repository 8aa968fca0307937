package host

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestANameKeepsItsHardwareUntilItIsForgotten(t *testing.T) {
	h := &Host{}
	first, second := Identity{Stable: "usb/1-1", Shown: "the first"}, Identity{Stable: "usb/1-2", Shown: "the second"}
	for _, is := range []Identity{first, first, {}} { // what is not known is taken for the same
		if err := h.Known.Confirm("i2c-11", is); err != nil {
			t.Fatalf("confirm %v: %v", is, err)
		}
	}
	const want = "i2c-11: was the first and is now the second: if it was moved, reload the configuration (SIGHUP)"
	if err := h.Known.Confirm("i2c-11", second); err == nil || err.Error() != want {
		t.Errorf("other hardware under the same name: %v, want %s", err, want)
	}
	h.Forget()
	if err := h.Known.Confirm("i2c-11", second); err != nil {
		t.Errorf("after Forget: %v", err)
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := Sleep(t.Context(), time.Second); err != nil {
			t.Errorf("a whole second: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := Sleep(ctx, time.Hour); err != context.DeadlineExceeded || time.Since(start) != time.Second {
			t.Errorf("%v after %v, want %v after 1s", err, time.Since(start), context.DeadlineExceeded)
		}
	})
}
