package config

import (
	"strings"
	"unicode/utf8"
)

// A scanner reads the text of a file: it knows the characters of YAML and line ends, but
// not blocks and flow collections.
type scanner struct {
	text    string
	at      int             // offset of the next character, at most len(text)
	anchors map[string]bool // names of the anchors before at
	unusual []fault         // characters that look like others, in the order of the text; at most one per line
	lost    bool            // unknown syntax: no fault can be found
}

// marker reports whether a document begins or ends here.
func (s *scanner) marker() bool {
	line := s.rest()
	return (strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...")) && (len(line) == 3 || isBlank(line[3]))
}

// startsLine reports whether there are only blanks before an offset in its line.
func (s *scanner) startsLine(at int) bool {
	return strings.TrimRight(s.text[:at], " \t") == "" || strings.HasSuffix(strings.TrimRight(s.text[:at], " \t"), "\n")
}

// rest is the text that is not read yet.
func (s *scanner) rest() string { return s.text[s.at:] }

// dash reports whether an entry of a block list begins here.
func (s *scanner) dash() bool {
	return strings.HasPrefix(s.rest(), "-") && (len(s.rest()) == 1 || isBlank(s.rest()[1]))
}

// skipBlanks moves to the next character of the line that is not a blank.
func (s *scanner) skipBlanks() {
	s.at += len(s.rest()) - len(strings.TrimLeft(s.rest(), " \t"))
}

// skipLine moves to the start of the next line, or to the end of the text.
func (s *scanner) skipLine() {
	if i := strings.IndexByte(s.rest(), '\n'); i >= 0 {
		s.at += i + 1
		return
	}
	s.at = len(s.text)
}

// endOfLine reports whether the rest of the line is empty or a comment, and skips it.
func (s *scanner) endOfLine() bool {
	rest := s.rest()
	comment := rest != "" && rest[0] == '#' && (s.at == 0 || isBlank(s.text[s.at-1]))
	if rest != "" && rest[0] != '\n' && rest[0] != '\r' && !comment {
		return false
	}
	s.skipLine()
	return true
}

// key returns the offset of the colon after the key that begins at s.at, or -1 if this is
// not a key.
func (s *scanner) key() int {
	line, _, _ := strings.Cut(s.rest(), "\n")
	colon := -1
	switch {
	case line == "", strings.IndexByte("[{#|>%@`", line[0]) >= 0: // a plain key cannot start like this
	case line[0] == '"', line[0] == '\'':
		colon = colonAfterQuoted(line)
	default:
		colon = colonAfterPlain(line)
	}
	if colon < 0 {
		return -1
	}
	return s.at + colon
}

// properties skips tags and anchors before a value, as in
//
//	password_file: !secret &name value
//
// and stores the anchors. The decoder decides whether a tag is accepted.
func (s *scanner) properties() {
	for s.at+1 < len(s.text) && (s.text[s.at] == '!' || s.text[s.at] == '&') && !isBlank(s.text[s.at+1]) {
		end := s.at + strings.IndexAny(s.rest()+"\n", " \t\r\n,[]{}")
		if s.text[s.at] == '&' {
			s.anchors[s.text[s.at+1:end]] = true
		}
		s.at = end
		s.skipBlanks()
	}
}

// quoteIt reports a value that begins with a character that YAML reserves. It repeats only
// this character, because the value may be a secret.
func (s *scanner) quoteIt(at int) *fault {
	c := s.text[at]
	value, _, _ := strings.Cut(s.text[at:], "\n")
	if value = strings.TrimRight(value, " \t\r,]}"); len(value) <= 1 {
		return faultAt(at, "a value cannot begin with %c: quote it, as in '%[1]c'", c)
	}
	return faultAt(at, "a value cannot begin with %c: quote it", c)
}

// quoted reads a quoted text, which may have several lines. A quote that is not closed
// would include the rest of the file, so the fault is at its start.
func (s *scanner) quoted() *fault {
	end := closingQuote(s.rest())
	if end < 0 {
		return faultAt(s.at, "a quote (%c) that is not closed", s.text[s.at])
	}
	if wrong := s.escapes(s.at, s.at+end); wrong != nil {
		return wrong
	}
	s.at += end
	return nil
}

// escapes checks the backslashes of a text between two offsets, if it is in double quotes:
// in a Windows path or a regular expression most of them are not valid in YAML.
func (s *scanner) escapes(from, to int) *fault {
	for i := from + 1; s.text[from] == '"' && i < to-1; i++ {
		if s.text[i] != '\\' {
			continue
		}
		i++
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s.text[i]]
		known := strings.IndexByte("0abt\tnvfre \"/\\N_LPxuU\n\r", s.text[i]) >= 0
		end := i + 1 + digits
		if !known || end > to-1 || strings.Trim(s.text[i+1:end], "0123456789abcdefABCDEF") != "" {
			letter, _ := utf8.DecodeRuneInString(s.text[i:])
			return faultAt(i-1, `\%c means nothing between double quotes: write \\, or take single quotes`, letter)
		}
	}
	return nil
}

// aliasName reads *name. The name has to be that of an earlier anchor: another value that
// begins with * needs quotes.
func (s *scanner) aliasName() *fault {
	start := s.at
	s.at += strings.IndexAny(s.rest()+"\n", " \t\r\n,[]{}")
	name := s.text[start+1 : s.at]
	switch {
	case name == "" || !isWord(name):
		return s.quoteIt(start)
	case !s.anchors[name]:
		return faultAt(start, "there is no anchor with this name above: quote a value that begins with *")
	}
	return nil
}
