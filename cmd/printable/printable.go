// Package printable makes text safe for a terminal. What the programs print comes from
// elsewhere, too: a broker, a file that was copied, the labels of a board.
package printable

import (
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// A Writer writes text with everything escaped that a terminal acts on or does not
// show: \u001b. In JSON that means the same. Line ends and tabs stay. Any goroutine may
// write: the log and the demo's screen do at the same time.
type Writer struct {
	w io.Writer

	mu   sync.Mutex // guards part, and keeps what one call writes together
	part []byte     // of a character whose other bytes come with the next Write
}

// NewWriter returns a writer in front of another.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write reports all bytes as written, also those of a character whose end has not come
// yet. An error is that of the writer inside; then some of the text may have been
// written.
func (p *Writer) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A character that is cut by the end of a Write waits for the next one.
	rest := append(p.part, text...)
	var out []byte
	for utf8.FullRune(rest) {
		r, n := utf8.DecodeRune(rest)
		out = Append(out, r, rest[:n])
		rest = rest[n:]
	}
	// A copy: the bytes of text are the caller's, who may use them again.
	p.part = append([]byte(nil), rest...)
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Append appends a character, or its escape if a terminal would act on it. raw
// are its bytes; one that is no UTF-8 is shown as \x and its value. A character beyond
// U+FFFF is written as two escapes, as JSON does (RFC 8259, section 7).
func Append(out []byte, r rune, raw []byte) []byte {
	switch {
	// U+FFFD itself is three bytes long, and passes below as text.
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Appendf(out, `\x%02x`, raw[0])
	case r == '\n', r == '\t', unicode.IsPrint(r):
		return append(out, raw...)
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(out, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(out, `\u%04x`, r)
}
