package queue

import (
	"testing"
	"testing/synctest"
)

// TestManyAlarmsOnADiskThatFailsAreTriedInTurn: more than fit into one commit
// are not a reason to try again at once.
func TestManyAlarmsOnADiskThatFailsAreTriedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, queuePath(t))
		h.stop()
		<-h.done
		h.mu.Lock()
		for seq := range uint64(maxEncode + 1000) {
			h.pushLocked(Item{Reading: alarm(seq + 1), Boot: h.boot})
		}
		h.mu.Unlock()
		h.file.db.spent = true
		for range 2 { // the first brings an event that is due at once
			if h.commit(false) == nil {
				t.Fatal("the disk does not fail")
			}
		}
		if due := h.due(); due <= 0 {
			t.Errorf("the next attempt is due in %v", due)
		}
		h.file.close()
	})
}
