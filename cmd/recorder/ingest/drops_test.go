package ingest

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/subscribe"
)

// TestDropCountIsFollowed: only growth during a connection counts, and only once.
func TestDropCountIsFollowed(t *testing.T) {
	live, retained, again := subscribe.Message{}, subscribe.Message{Retained: true}, subscribe.Message{Duplicate: true}
	const minute = 60_000
	d := &drops{}
	for i, step := range []struct {
		m       subscribe.Message
		payload string
		at      int64
		want    any
	}{
		{retained, "100", 1000, message.Ignored{}}, // dropped before us
		{live, "130", 11_000, message.Drops{Since: 1000, Count: 30, Total: 130}},
		{live, "130", 21_000, message.Ignored{}},
		{again, "150", 22_000, message.Ignored{}},
		{live, "nonsense", 23_000, message.Ignored{}},
		{live, "-5", 23_500, message.Ignored{}},
		{live, "99999999999999999999", 24_000, message.Ignored{}},
		{live, "131", 25_000, message.Drops{Since: 21_000, Count: 1, Total: 131}},
		{live, "3", 31_000, message.Ignored{}}, // the broker has started again
		{live, "5", 41_000, message.Drops{Since: 31_000, Count: 2, Total: 5}},
		{live, "6", 10 * minute, message.Drops{Since: 5 * minute, Count: 1, Total: 6}}, // the rest is too long ago
		{retained, "9", 11 * minute, message.Ignored{}},                                // the number of a new subscription
	} {
		step.m.Payload = []byte(step.payload)
		if got := d.decode(step.m, step.at, slog.New(slog.DiscardHandler)).Message; got != step.want {
			t.Errorf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
}

// TestDroppedMessagesAreWarnedOfRarely: the next warning has the sum.
func TestDroppedMessagesAreWarnedOfRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, nil))
		d := &drops{}
		for range 130 { // 65 in ten minutes
			d.warn(2, log)
			time.Sleep(10 * time.Second)
		}
		if got := text.String(); strings.Count(got, "WARN") != 3 || strings.Count(got, "dropped=120\n") != 2 ||
			!strings.Contains(got, "dropped=2\n") {
			t.Errorf("in 21 minutes: %s", got)
		}
	})
}

// TestOptionalFilterIsRequestedThreeTimesIfTheBrokerDisconnects: some brokers disconnect in
// place of a refusal.
func TestOptionalFilterIsRequestedThreeTimesIfTheBrokerDisconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		connections, stop := running(t, s, Options{Size: 100, Time: time.Millisecond})
		for range 3 {
			b := <-connections
			b.answer(t, 1, []byte{0x20, 3, 1, 0, 0})
			b.answer(t, 8, []byte{0x90, 5, 0, 1, 0, 1, 1})
			if kind, body := b.packet(t); kind != 8 || !strings.Contains(string(body), droppedTopic) {
				t.Errorf("type %d % x, want the subscription to the count", kind, body)
			}
			b.Close()
		}
		b := <-connections
		b.answer(t, 1, []byte{0x20, 3, 1, 0, 0})
		b.answer(t, 8, []byte{0x90, 5, 0, 1, 0, 1, 1})
		b.publish(t, 1)
		if kind, _ := b.packet(t); kind != 4 {
			t.Errorf("type %d, want an acknowledgement", kind)
		}
		go io.Copy(io.Discard, b.r)
		stop()
		b.Close()
	})
}
