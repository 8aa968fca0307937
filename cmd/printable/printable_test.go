package printable

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// For any input in any pieces, the output has nothing that a terminal acts on, and
// printable text is unchanged.
func TestControlCharactersAreEscaped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string {
			return string(b)
		})).Draw(t, "text")
		var whole, pieces bytes.Buffer
		NewWriter(&whole).Write([]byte(text + "\n"))
		p := NewWriter(&pieces)
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

func TestEscapedJSONKeepsItsMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		line, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		NewWriter(&out).Write(line)
		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != strings.ToValidUTF8(text, "\ufffd") {
			t.Fatalf("%q: got %q, %v from %s", text, back, err, out.String())
		}
	})
}
