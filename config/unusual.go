package config

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// byteOrderMark is at the start of files of some Windows editors. It is accepted only
// there.
const byteOrderMark = "\uFEFF"

// lookalikes are characters that editors, word processors and web pages use instead of
// those of YAML.
var lookalikes = map[rune]string{
	'“': `"`, '”': `"`, '„': `"`, '«': `"`, '»': `"`, '‘': "'", '’': "'", '‚': "'",
	'：': ":", '，': ",", '；': ";", '−': "-", '–': "-", '—': "-", '‐': "-", '‑': "-",
}

// collectUnusual collects the characters of a text without quotes that look like others.
// They are no errors by themselves.
func (s *scanner) collectUnusual(from, to int) {
	if n := len(s.unusual); n > 0 && !strings.Contains(s.text[s.unusual[n-1].at:to], "\n") {
		return // one per line is enough
	}
	for i, r := range s.text[from:to] {
		meant, alike := lookalikes[r]
		switch {
		case r < utf8.RuneSelf:
			continue
		case alike:
			s.unusual = append(s.unusual,
				*faultAt(from+i, "%q (%U) is not the character it looks like: write %s", r, r, meant))
		case r == '\u00a0':
			s.unusual = append(s.unusual, *faultAt(from+i, "a no-break space (U+00A0): write a plain space"))
		case unicode.IsSpace(r):
			s.unusual = append(s.unusual, *faultAt(from+i, "a space of another kind (%U): write a plain space", r))
		case !unicode.IsPrint(r):
			s.unusual = append(s.unusual, *faultAt(from+i, "an invisible character (%U): take it out", r))
		default:
			continue
		}
		return
	}
}

// isControl reports whether YAML forbids a character: a control character of C0 or C1 other
// than tab and line end, or U+FFFE and U+FFFF (YAML 1.2, section 5.1).
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r >= 0x7f && r < 0xa0 || r >= 0xfffe && r <= 0xffff
}

// firstUnreadable finds the first character that a configuration must not have: one that is
// not printable, or that only one of YAML and editors treats as a line end.
func firstUnreadable(text string) *fault {
	// The YAML library would report most of these at a wrong position.
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			return faultAt(i, "this is not valid UTF-8: save the file as UTF-8")
		case r == '\r' && !strings.HasPrefix(text[i:], "\r\n"):
			return faultAt(i, "a carriage return without a line feed: end lines as Unix does")
		case r == '\u0085' || r == '\u2028' || r == '\u2029':
			return faultAt(i, "a line end of another kind (%U): begin a new line instead", r)
		case r == '\uFEFF' && i > 0:
			return faultAt(i, "a byte order mark (U+FEFF) inside of the file: take it out")
		case isControl(r):
			return faultAt(i, "a control character (%U): take it out", r)
		}
	}
	return nil
}
