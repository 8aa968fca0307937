package config

import (
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// isWord reports whether a text could be a key. A key that we do not know is found
// later; here the form is enough to see what was meant.
func isWord(s string) bool { return sensors.IsName(s) }

const (
	noBlank = "a space is missing after the colon: write %q"
	noColon = "a colon is missing: write %q"
	tooLong = "a key cannot be longer than %d characters"
	maxKey  = 1024 // YAML 1.1, section 7.3
)

// glued returns the key that a text begins with where its colon has no blank
// behind it, as in kind:contact; "" where there is none. An address such as
// mqtt://b is none.
func glued(text string) string {
	// Only the first colon counts: a value may have others.
	key, value, found := strings.Cut(text, ":")
	if !found || value == "" || strings.HasPrefix(value, "//") || !isWord(key) {
		return ""
	}
	return key
}

// isKeyColon reports whether a colon stands at i that ends a key: a blank or the
// end of the line follows it (YAML 1.2, section 7.4.2).
func isKeyColon(line string, i int) bool {
	return i < len(line) && line[i] == ':' && (i+1 == len(line) || isBlank(line[i+1]))
}

// colonAfterQuoted returns the offset of the colon behind a key in quotes, or -1 if
// the quotes are not closed on the line or something else follows them.
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

// colonAfterPlain returns the offset of the colon behind a key without quotes, or
// -1 if there is none before a comment.
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

// closingQuote is the offset behind the quote that closes the one at the
// begin, or -1.
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

// value reads what follows a key or a dash in a block, and notes in the block
// whether a line that is indented more may follow: after nothing, a block; after
// text without quotes, more text; else neither.
func (f *finder) value() *fault {
	f.skipBlanks()
	f.properties()
	// What follows the line may still be the value: a block that is indented more.
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

// quotedValue reads a value in quotes, and what follows it on its line.
func (f *finder) quotedValue() *fault {
	start := f.at
	if wrong := f.quoted(); wrong != nil {
		return wrong
	}
	return f.closed(start)
}

// closed complains about what follows a value that is complete. Behind a
// quote that was closed lines later, or by the next one that opens, the quote
// is the mistake.
func (f *finder) closed(start int) *fault {
	value := f.text[start:f.at]
	blank := f.at // where the value ends
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

// literal reads a block of text behind | or >: all lines that are indented
// more than the key.
func (f *finder) literal() *fault {
	// | and > with a digit for the indentation and a sign for the last line ends.
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

// alias reads *name in a block, where nothing else may stand on the line.
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

// plain reads text without quotes to the end of the line. A colon with a space
// behind it would begin a second key on the line, which is the most common mistake
// of those who write `key: value: more`.
func (f *finder) plain() *fault {
	start := f.at
	line, _, _ := strings.Cut(f.rest(), "\n")
	// Until a comment; what comes before it may be looked at for unusual characters.
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
