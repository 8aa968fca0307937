package debounce

import (
	"testing"
	"time"
)

// A contact that was 0 for longer than it is held, when that is noticed, is 0 now.
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
