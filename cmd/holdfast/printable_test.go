package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// Whatever comes in, in whatever pieces, a terminal gets nothing to act on, and
// what prints stays as it is.
func TestATerminalGetsNothingToActOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string {
			return string(b)
		})).Draw(t, "text")
		var whole, pieces bytes.Buffer
		(&printable{w: &whole}).Write([]byte(text + "\n"))
		p := &printable{w: &pieces}
		for rest := text + "\n"; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			p.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		if whole.String() != pieces.String() {
			t.Fatalf("whole %q, in pieces %q", whole.String(), pieces.String())
		}
		if !utf8.Valid(whole.Bytes()) {
			t.Fatalf("not UTF-8: %q", whole.String())
		}
		for _, r := range whole.String() {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Fatalf("%q prints %U", text, r)
			}
		}
		if strings.IndexFunc(text, func(r rune) bool {
			return r == utf8.RuneError || !unicode.IsPrint(r)
		}) < 0 && whole.String() != text+"\n" {
			t.Fatalf("%q became %q", text, whole.String())
		}
	})
}

func TestJSONStaysTheSameOnATerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		line, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		(&printable{w: &out}).Write(line)
		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != strings.ToValidUTF8(text, "\ufffd") {
			t.Fatalf("%q: got %q, %v from %s", text, back, err, out.String())
		}
	})
}

// evil clears the screen, sets the title, turns the text around and breaks the
// line.
const evil = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202edoor\nfake  line\r"

// A queue that was copied from elsewhere is looked at.
func TestAForeignQueueIsPrintedSafely(t *testing.T) {
	opt := queue.Options{Path: filepath.Join(t.TempDir(), "queue.db"), MaxSize: 1 << 20, SyncEvery: 5 * time.Second,
		Clock: clock.NewTimekeeper(clock.TrustAuto)}
	q, err := queue.Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := opt.Clock.Now()
	q.Put(sensors.Reading{Stream: evil, Seq: 1, At: at, Unit: evil, Value: 1})
	q.Put(sensors.Reading{Stream: "a", Seq: 1, At: at, State: evil, Value: 1})
	q.Put(sensors.Reading{Stream: "b", Seq: 1, At: at, Err: evil})
	q.Report(sensors.Event{Name: "fault", At: at, Details: json.RawMessage(`{"why":"` + "\u009b31m\u202e" + `"}`)})
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"stats", "peek", "export"} {
		out, errs := holdfast(t, "queue", "-file", opt.Path, verb)
		for _, r := range out + errs {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("%s prints %U:\n%q", verb, r, out)
			}
		}
		if !strings.Contains(out, "door") && verb != "stats" || strings.Contains(out, "\nfake") {
			t.Errorf("%s: got\n%s", verb, out)
		}
		for line := range strings.Lines(out) {
			if verb == "export" && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	}
}
