package config

import (
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// isWord reports whether a text could be a key. Unknown keys are found later; here the form
// is enough for a suggestion.
func isWord(s string) bool { return sensors.IsName(s) }

const (
	noBlank = "a space is missing after the colon: write %q"
	noColon = "a colon is missing: write %q"
	tooLong = "a key cannot be longer than %d characters"
	maxKey  = 1024 // YAML 1.1, section 7.3
)

// glued returns the key at the start of a text whose colon is not followed by a blank, as
// in kind:contact; "" if there is none. A URL such as mqtt://b is none.
func glued(text string) string {
	// Only the first colon counts: the value may contain others.
	key, value, found := strings.Cut(text, ":")
	if !found || value == "" || strings.HasPrefix(value, "//") || !isWord(key) {
		return ""
	}
	return key
}

// isKeyColon reports whether the colon at i ends a key: a blank or the end of the line
// follows it (YAML 1.2, section 7.4.2).
func isKeyColon(line string, i int) bool {
	return i < len(line) && line[i] == ':' && (i+1 == len(line) || isBlank(line[i+1]))
}

// colonAfterQuoted returns the offset of the colon after a quoted key, or -1 if the quotes
// are not closed on the line or something else follows them.
func colonAfterQuoted(line string) int {
	end := closingQuote(line)
	if end < 0 {
		return -1
	}
	// A blank between the key and its colon is allowed.
	end += len(line[end:]) - len(strings.TrimLeft(line[end:], " \t"))
	if isKeyColon(line, end) {
		return end
	}
	return -1
}

// colonAfterPlain returns the offset of the colon after a key without quotes, or -1 if
// there is none before a comment.
func colonAfterPlain(line string) int {
	for i := range len(line) {
		switch {
		case line[i] == '#' && i > 0 && isBlank(line[i-1]):
			return -1
		case isKeyColon(line, i):
			return i
		}
	}
	return -1
}

// closingQuote is the offset after the closing quote of the text that s starts with, or -1.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		// \" is a quote in double quotes, '' one in single quotes.
		case s[0] == '"' && s[i] == '\\':
			i++
		case s[0] == '\'' && s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			i++
		case s[i] == s[0]:
			return i + 1
		}
	}
	return -1
}

// value reads what follows a key or a dash in a block, and notes in the block what may
// follow with a larger indentation: after nothing, a block; after text without quotes, more
// text; otherwise neither.
func (f *finder) value() *fault {
	f.skipBlanks()
	f.properties()
	// The value may be after the line: a block with a larger indentation.
	top := f.top()
	top.has, top.value = nothing, f.at
	if f.endOfLine() {
		return nil
	}
	top.has = complete
	switch c := f.rest()[0]; {
	case c == '"' || c == '\'':
		return f.quotedValue()
	case c == '[' || c == '{':
		if wrong := f.flow(); wrong != nil {
			return wrong
		}
		return f.closed(top.value)
	case c == '|' || c == '>':
		return f.literal()
	case c == '*':
		return f.alias()
	case strings.IndexByte("%@`,]}&!", c) >= 0,
		strings.IndexByte("-?:", c) >= 0 && (len(f.rest()) == 1 || isBlank(f.rest()[1])):
		return f.quoteIt(f.at)
	}
	top.has = plain
	return f.plain()
}

// quotedValue reads a quoted value, and the rest of its line.
func (f *finder) quotedValue() *fault {
	start := f.at
	if wrong := f.quoted(); wrong != nil {
		return wrong
	}
	return f.closed(start)
}

// closed reports text after a complete value. If a quote was closed on a later line, or by
// the next opening quote, the error is the quote.
func (f *finder) closed(start int) *fault {
	value := f.text[start:f.at]
	blank := f.at // offset of the end of the value
	f.skipBlanks()
	if f.endOfLine() {
		return nil
	}
	quote := value[0] == '"' || value[0] == '\''
	rest := f.rest()
	switch {
	case quote && strings.Contains(value, "\n"):
		return faultAt(start, "a quote (%c) that is not closed on its line", value[0])
	case quote && value[0] == '\'' && f.at == blank:
		return faultAt(f.at, "text behind the closing quote: a ' between single quotes is written ''")
	case quote && f.at == blank:
		return faultAt(f.at, `text behind the closing quote: a " between double quotes is written \"`)
	case quote:
		return faultAt(f.at, "text behind the closing quote")
	case rest[0] == '#':
		return faultAt(f.at, "a space is missing before the comment")
	case strings.IndexByte("]}", rest[0]) >= 0:
		return faultAt(f.at, "this %c closes nothing", rest[0])
	case f.at == blank:
		return faultAt(start, "a value cannot begin with %c: quote it", value[0])
	}
	return faultAt(f.at, "text behind the closing %c", f.text[blank-1])
}

// literal reads a block of text after | or >: all lines with a larger indentation than the
// key.
func (f *finder) literal() *fault {
	// After | and > there may be a digit for the indentation and a sign for the last line ends.
	header, _, _ := strings.Cut(f.rest(), "\n")
	header, _, _ = strings.Cut(header, " #")
	if strings.Trim(header[1:], "+-0123456789 \t\r") != "" || len(strings.TrimRight(header, " \t\r")) > 3 {
		return f.quoteIt(f.at)
	}
	f.skipLine()
	for f.at < len(f.text) {
		line, _, _ := strings.Cut(f.rest(), "\n")
		content := strings.TrimLeft(line, " ")
		if strings.TrimRight(content, "\r") != "" && len(line)-len(content) <= f.top().indent {
			break
		}
		f.skipLine()
	}
	return nil
}

// alias reads *name in a block, after which the line must end.
func (f *finder) alias() *fault {
	start := f.at
	if wrong := f.aliasName(); wrong != nil {
		return wrong
	}
	f.skipBlanks()
	if !f.endOfLine() {
		return f.quoteIt(start)
	}
	return nil
}

// plain reads text without quotes to the end of the line. A colon and a space in it would
// start a second key on the line, which is the most common error: `key: value: more`.
func (f *finder) plain() *fault {
	start := f.at
	line, _, _ := strings.Cut(f.rest(), "\n")
	// Up to a comment; the text before it is checked for unusual characters.
	for i := range len(line) {
		switch {
		case line[i] == '#' && i > 0 && isBlank(line[i-1]):
			line = line[:i]
		case line[i] == ':' && (i+1 == len(line) || isBlank(line[i+1])):
			f.collectUnusual(start, start+i)
			return faultAt(start+i, "a second colon on one line: "+
				"begin a new line, or quote the value if it is one text")
		default:
			continue
		}
		break
	}
	f.collectUnusual(start, start+len(line))
	f.skipLine()
	return nil
}
