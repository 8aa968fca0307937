package debounce

import (
	"testing"
	"time"
)

// If a contact has been 0 for longer than the hold time when this is detected, its value is 0 at once.
func TestHoldNeverEndsInThePast(t *testing.T) {
	start := time.Now()
	h := hold{length: time.Second}
	h.pass(Change{true, start}, start)
	late := start.Add(time.Minute)
	h.pass(Change{false, start.Add(time.Second)}, late)
	if c, ok := h.expire(late); !ok || !c.Since.Equal(late) {
		t.Errorf("%+v, %v", c, ok)
	}
}
