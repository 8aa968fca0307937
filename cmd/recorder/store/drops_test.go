package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
)

// said is the broker's report of count dropped messages between two times.
func said(since, at, count int64) Item {
	return Item{At: at, Message: message.Drops{Since: since, Total: at - start, Count: count}}
}

// of returns a reading of another device with a number.
func of(at int64, device string, seq int64) Item {
	return got(at, device+"/hum", fmt.Sprintf(`{"ts":%d,"boot":"1-a","seq":%d,"value":1}`, at, seq))
}

// verified returns the result of Verify for a device: its gaps, and the dropped messages.
func verified(t *testing.T, s *Store, device string) string {
	t.Helper()
	v, err := s.Verify(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, g := range v.Gaps {
		fmt.Fprintf(&b, "%d-%d %s|", g.From, g.To, g.Why)
	}
	for _, p := range v.Drops {
		fmt.Fprintf(&b, "%d dropped from %d to %d|", p.Count, p.Since-start, p.At-start)
	}
	fmt.Fprintf(&b, "%d unexplained", v.Unexplained)
	return b.String()
}

// TestVerifyExplainsDroppedMessages: a hole is explained by the broker's count if
// the count grew by as many at that time, and no dropped message explains two readings.
func TestVerifyExplainsDroppedMessages(t *testing.T) {
	for name, c := range map[string]struct {
		items        []Item
		porch, attic string
	}{
		"as many": {
			[]Item{of(start, "porch", 1), of(start+500, "porch", 5), said(start+100, start+1000, 3)},
			"2-4 dropped|3 dropped from 100 to 1000|0 unexplained", ""},
		"fewer": {
			[]Item{of(start, "porch", 1), of(start+500, "porch", 5), said(start+100, start+1000, 2)},
			"2-4 |3 unexplained", ""},
		"none": {[]Item{of(start, "porch", 1), of(start+500, "porch", 5)}, "2-4 |3 unexplained", ""},
		"before the readings": {
			[]Item{said(start-1000, start-1, 9), of(start, "porch", 1), of(start+500, "porch", 5)},
			"2-4 |3 unexplained", ""},
		"after the readings": {
			[]Item{of(start, "porch", 1), of(start+500, "porch", 5), said(start+501, start+1000, 9)},
			"2-4 |3 unexplained", ""},
		"in two periods": {
			[]Item{of(start, "porch", 1), said(start, start+200, 1), said(start+200, start+400, 2), of(start+500, "porch", 5)},
			"2-4 dropped|3 dropped from 0 to 400|0 unexplained", ""},
		"two holes, enough for the first": {
			[]Item{of(start, "porch", 1), of(start+500, "porch", 5), of(start+600, "porch", 8),
				said(start+100, start+1000, 4)},
			"2-4 dropped|6-7 |4 dropped from 100 to 1000|2 unexplained", ""},
		"two devices, enough for one": {
			[]Item{of(start, "porch", 1), of(start, "attic", 1), of(start+500, "attic", 5), of(start+600, "porch", 5),
				said(start+100, start+1000, 5)},
			"2-4 |3 unexplained", "2-4 dropped|5 dropped from 100 to 1000|0 unexplained"},
		"two devices, enough for both": {
			[]Item{of(start, "porch", 1), of(start, "attic", 1), of(start+500, "attic", 5), of(start+600, "porch", 5),
				said(start+100, start+1000, 6)},
			"2-4 dropped|6 dropped from 100 to 1000|0 unexplained",
			"2-4 dropped|6 dropped from 100 to 1000|0 unexplained"},
		"told twice": {
			[]Item{of(start, "porch", 1), of(start+500, "porch", 5), said(start+100, start+1000, 2),
				said(start+100, start+1000, 2)},
			"2-4 |3 unexplained", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := opened(t)
			commitAll(t, s, c.items...)
			if got := verified(t, s, "porch"); got != c.porch {
				t.Errorf("porch: %s, want %s", got, c.porch)
			}
			if c.attic == "" {
				return
			}
			if got := verified(t, s, "attic"); got != c.attic {
				t.Errorf("attic: %s, want %s", got, c.attic)
			}
		})
	}
}

// TestConnectionExplainsAGapBeforeDropsDo: a gap that a connection explains uses none of the dropped
// messages.
func TestConnectionExplainsAGapBeforeDropsDo(t *testing.T) {
	s := opened(t)
	commitAll(t, s, of(start, "porch", 1), of(start+100, "attic", 1))
	if err := s.Connected(t.Context(), Connection{At: time.UnixMilli(start + 50)}); err != nil {
		t.Fatal(err)
	}
	commitAll(t, s, of(start+200, "porch", 5), of(start+300, "attic", 5), said(start+60, start+1000, 3))
	if got := verified(t, s, "porch"); got != "2-4 broker|0 unexplained" {
		t.Error("porch: ", got)
	}
	if got := verified(t, s, "attic"); got != "2-4 dropped|3 dropped from 60 to 1000|0 unexplained" {
		t.Error("attic: ", got)
	}
}
