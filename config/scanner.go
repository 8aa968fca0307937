package config

import (
	"strings"
	"unicode/utf8"
)

// A scanner walks over the text of a file: it knows the characters of YAML and
// where a line ends, but not what a block or a flow collection is.
type scanner struct {
	text    string
	at      int             // offset of the next character, at most len(text)
	anchors map[string]bool // names that were set before at
	unusual []fault         // characters that are not what they look like, in the order of the text; at most one a line
	lost    bool            // something that we do not know: nothing more can be said
}

// marker reports whether a document begins or ends here.
func (s *scanner) marker() bool {
	line := s.rest()
	return (strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...")) && (len(line) == 3 || isBlank(line[3]))
}

// startsLine reports whether nothing but blanks stands before an offset.
func (s *scanner) startsLine(at int) bool {
	return strings.TrimRight(s.text[:at], " \t") == "" || strings.HasSuffix(strings.TrimRight(s.text[:at], " \t"), "\n")
}

// rest is what is still to be read.
func (s *scanner) rest() string { return s.text[s.at:] }

// dash reports whether an entry of a block list begins here.
func (s *scanner) dash() bool {
	return strings.HasPrefix(s.rest(), "-") && (len(s.rest()) == 1 || isBlank(s.rest()[1]))
}

// skipBlanks moves to the next character of the line that is no blank.
func (s *scanner) skipBlanks() {
	s.at += len(s.rest()) - len(strings.TrimLeft(s.rest(), " \t"))
}

// skipLine moves to the begin of the next line, or to the end of the text.
func (s *scanner) skipLine() {
	if i := strings.IndexByte(s.rest(), '\n'); i >= 0 {
		s.at += i + 1
		return
	}
	s.at = len(s.text)
}

// endOfLine reports whether nothing but a comment is left of the line, and
// skips it.
func (s *scanner) endOfLine() bool {
	rest := s.rest()
	comment := rest != "" && rest[0] == '#' && (s.at == 0 || isBlank(s.text[s.at-1]))
	if rest != "" && rest[0] != '\n' && rest[0] != '\r' && !comment {
		return false
	}
	s.skipLine()
	return true
}

// key returns the offset of the colon behind the key that begins at s.at, or
// -1 if this is no key.
func (s *scanner) key() int {
	line, _, _ := strings.Cut(s.rest(), "\n")
	colon := -1
	switch {
	case line == "", strings.IndexByte("[{#|>%@`", line[0]) >= 0: // no plain key begins so
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
// and remembers the anchors. Whether a tag is accepted is the decoder's business.
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

// quoteIt complains about a value that begins with a character that YAML
// reserves. It repeats nothing else of it: it may be a secret.
func (s *scanner) quoteIt(at int) *fault {
	c := s.text[at]
	value, _, _ := strings.Cut(s.text[at:], "\n")
	if value = strings.TrimRight(value, " \t\r,]}"); len(value) <= 1 {
		return faultAt(at, "a value cannot begin with %c: quote it, as in '%[1]c'", c)
	}
	return faultAt(at, "a value cannot begin with %c: quote it", c)
}

// quoted reads a text in quotes, which may go on over several lines. A quote that is
// not closed would swallow the rest of the file, so the fault is where it opens.
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

// escapes checks the backslashes of a text between two offsets, if it is in double
// quotes: in a Windows path or a regular expression most of them mean nothing to
// YAML.
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

// aliasName reads *name. The name has to be that of an anchor before it: a value
// that merely begins with * needs quotes.
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
