// Package printable makes text safe for a terminal. The programs also print text from
// elsewhere: from a broker, a copied file, the labels of a board.
package printable

import (
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// A Writer writes text, and escapes everything that a terminal acts on or does not show,
// such as \u001b. In JSON the escape has the same meaning. Line ends and tabs are not
// escaped. Any goroutine may write: the log and the demo's screen do so at the same time.
type Writer struct {
	w io.Writer

	mu   sync.Mutex // guards part, and makes each call one write
	part []byte     // incomplete character, continued by the next Write
}

// NewWriter returns a writer that writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write reports all bytes as written, including those of an incomplete character. An error
// is that of w; then some of the text may have been written.
func (p *Writer) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// An incomplete character at the end of a Write waits for the next one.
	rest := append(p.part, text...)
	var out []byte
	for utf8.FullRune(rest) {
		r, n := utf8.DecodeRune(rest)
		out = Append(out, r, rest[:n])
		rest = rest[n:]
	}
	// A copy, because the caller may reuse the bytes of text.
	p.part = append([]byte(nil), rest...)
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Append appends a character, or its escape if a terminal would act on it. raw are its
// bytes; a byte that is not UTF-8 becomes \x and its value. A character beyond U+FFFF is
// written as two escapes, as in JSON (RFC 8259, section 7).
func Append(out []byte, r rune, raw []byte) []byte {
	switch {
	// U+FFFD itself is three bytes long, and is treated as text below.
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
