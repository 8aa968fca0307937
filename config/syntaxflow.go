package config

import (
	"strings"
	"unicode"
)

// A bracket is an open flow collection and the state of its current entry.
type bracket struct {
	at    int  // offset of the bracket
	begun bool // the entry is not empty
	colon bool // the colon after its key was read
	ended bool // a value is complete: a comma or the closing bracket has to follow
	value int  // offset of the last value
	words bool // the last value is text without quotes
}

// newEntry resets the state after a comma.
func (b *bracket) newEntry() { *b = bracket{at: b.at} }

// took notes a value.
func (b *bracket) took(at int, words bool) {
	b.begun, b.ended, b.value, b.words = true, true, at, words
}

// A flowReader reads one flow collection, including nested ones.
type flowReader struct {
	*scanner
	indent int // indentation of the block around it: a key there means that the collection is not closed
}

// flow reads a collection in brackets, up to the closing bracket.
func (f *finder) flow() *fault {
	r := flowReader{&f.scanner, f.top().indent}
	return r.read()
}

// read reads from an opening bracket to its closing one. Open brackets are in a list, the
// outermost first, because the depth of a recursion would depend on the file.
func (r *flowReader) read() *fault {
	open := []*bracket{{at: r.at}}
	r.at++
	for len(open) > 0 {
		if wrong := r.blanks(open); wrong != nil {
			return wrong
		}
		// At the end of the file the innermost bracket has to be closed.
		top := open[len(open)-1]
		if r.at >= len(r.text) {
			return faultAt(top.at, "this %c is not closed", r.text[top.at])
		}
		var wrong *fault
		switch c := r.text[r.at]; c {
		case ']', '}':
			if (c == ']') != (r.text[top.at] == '[') {
				return faultAt(r.at, "this %c does not close the %c before it", c, r.text[top.at])
			}
			// The closed collection is a value of the collection around it.
			open = open[:len(open)-1]
			if len(open) > 0 {
				open[len(open)-1].took(top.at, false)
			}
			r.at++
		case '[', '{':
			// [a [b]]: between two values there must be a comma, between key and value a colon.
			if top.ended {
				return r.noComma(top)
			}
			open = append(open, &bracket{at: r.at})
			r.at++
		default:
			wrong = r.token(top)
		}
		if wrong != nil {
			return wrong
		}
	}
	return nil
}

// blanks skips blanks, comments and line ends. A line that is a key of the block around the
// brackets does not belong to the collection.
func (r *flowReader) blanks(open []*bracket) *fault {
	for r.at < len(r.text) {
		c := r.text[r.at]
		switch {
		case c == '#' && isBlank(r.text[r.at-1]):
			r.skipLine()
			r.at-- // back to the line end, because outside checks the next line
			if r.text[r.at] != '\n' {
				r.at++
			}
		case !isBlank(c):
			return nil
		case c == '\n' && r.outside(r.text[r.at+1:]):
			top := open[len(open)-1]
			return faultAt(top.at, "this %c is not closed", r.text[top.at])
		default:
			r.at++
		}
	}
	return nil
}

// outside reports whether a line is a key of one of the open blocks.
func (r *flowReader) outside(line string) bool {
	line, _, _ = strings.Cut(line, "\n")
	// A key with a larger indentation may be inside of the brackets.
	content := strings.TrimLeft(line, " ")
	key, _, found := strings.Cut(content, ":")
	return found && isWord(key) && len(line)-len(content) <= r.indent
}

// token reads one token between brackets: a separator, a quoted text, an alias or words.
// Between brackets a comma ends a value, and a colon needs no space after it if the key is
// quoted (YAML 1.2, section 7.4.2).
func (r *flowReader) token(top *bracket) *fault {
	// The end of the text separates tokens, like a line end.
	c, next := r.text[r.at], byte('\n')
	if r.at+1 < len(r.text) {
		next = r.text[r.at+1]
	}
	separate := isBlank(next) || strings.IndexByte(",[]{}", next) >= 0
	complete := top.ended && !top.words // a value that cannot continue: quoted, an alias or brackets
	switch {
	case c == ',':
		return r.comma(top)
	case c == ':' && (separate || complete):
		return r.colon(top)
	case c == '?' && separate:
		r.lost, r.at = true, len(r.text)
		return nil
	case complete, top.ended && (c == '"' || c == '\''):
		return r.noComma(top)
	case top.ended:
		r.words(top)
		return nil
	}
	return r.value(top, c, next, separate)
}

// comma handles the comma after an entry.
func (r *flowReader) comma(top *bracket) *fault {
	if !top.begun { // two commas, or one after the bracket
		return faultAt(r.at, "one comma too many")
	}
	top.newEntry()
	r.at++
	return nil
}

// value reads the start of a key or a value: c is its first character, next the following
// one, and separate reports whether next ends a word.
func (r *flowReader) value(top *bracket, c, next byte, separate bool) *fault {
	start := r.at
	switch {
	case c == '"' || c == '\'':
		if wrong := r.quoted(); wrong != nil {
			return wrong
		}
		top.took(start, false)
		return nil
	case c == '*':
		wrong := r.aliasName()
		top.took(start, false)
		return wrong
	case (c == '&' || c == '!') && !separate:
		r.properties()
		return nil
	case strings.IndexByte("%@`|>&!:", c) >= 0, c == '-' && isBlank(next):
		return r.quoteIt(start)
	}
	r.words(top)
	return nil
}

// colon handles the colon after a key: what was read as a value is the key. A second colon
// in the same entry is an error.
func (r *flowReader) colon(top *bracket) *fault {
	if top.colon {
		return r.secondColon(top)
	}
	if top.ended && r.at-top.value > maxKey {
		return faultAt(top.value, tooLong, maxKey)
	}
	top.begun, top.colon, top.ended = true, true, false
	r.at++
	return nil
}

// secondColon handles a colon after a value. If the value has several words, its last one
// is the next key.
func (r *flowReader) secondColon(top *bracket) *fault {
	// {a: b c: d} has a missing comma before c; {a: b: c} may be one text.
	value := r.text[top.value:r.at]
	blank := strings.LastIndexFunc(strings.TrimRightFunc(value, unicode.IsSpace), unicode.IsSpace)
	if word := strings.TrimSpace(value[blank+1:]); top.words && blank >= 0 && isWord(word) {
		return faultAt(top.value+blank+1, "a comma is missing before %q", word)
	}
	if !top.words && strings.Contains(value, "\n") {
		return faultAt(top.value, "a quote (%c) that is not closed on its line", r.text[top.value])
	}
	return faultAt(r.at, "a second colon: write a comma before the next key, or quote the value if it is one text")
}

// noComma reports text directly after a value.
func (r *flowReader) noComma(top *bracket) *fault {
	// A quote that ends on a later line has included what should be between.
	value := r.text[top.value:r.at]
	if c := value[0]; (c == '"' || c == '\'') && strings.Contains(strings.TrimSpace(value), "\n") {
		return faultAt(top.value, "a quote (%c) that is not closed on its line", c)
	}
	return faultAt(r.at, "a comma is missing before this")
}

// words reads text without quotes: a word, with what follows it up to the end of the line.
func (r *flowReader) words(top *bracket) {
	start := r.at
	// A colon and a number sign inside of a word belong to it: mqtt://b, a#b.
	for r.at < len(r.text) {
		c, next := r.text[r.at], byte('\n')
		if r.at+1 < len(r.text) {
			next = r.text[r.at+1]
		}
		colon := c == ':' && (isBlank(next) || strings.IndexByte(",[]{}", next) >= 0)
		comment := c == '#' && r.at > start && isBlank(r.text[r.at-1])
		if colon || comment || c == '\n' || strings.IndexByte(",[]{}", c) >= 0 {
			break
		}
		r.at++
	}
	r.collectUnusual(start, r.at)
	if top.ended {
		start = top.value // the text continues
	}
	top.took(start, true)
}
