package config

import (
	"strings"
	"unicode"
)

// A bracket is an open flow collection and what its current entry has.
type bracket struct {
	at    int // offset of the bracket
	begun bool
	colon bool
	ended bool // a value is complete: a comma or the closing bracket follows
	value int  // offset of the last value
	words bool // which is text without quotes
}

// newEntry forgets the entry before a comma.
func (b *bracket) newEntry() { *b = bracket{at: b.at} }

// took notes a value.
func (b *bracket) took(at int, words bool) {
	b.begun, b.ended, b.value, b.words = true, true, at, words
}

// flow reads a collection in brackets, to the bracket that closes it.
func (f *finder) flow() *fault {
	open := []*bracket{{at: f.at}}
	f.at++
	for len(open) > 0 {
		if wrong := f.flowBlanks(open); wrong != nil {
			return wrong
		}
		top := open[len(open)-1]
		if f.at >= len(f.text) {
			return faultAt(top.at, "this %c is not closed", f.text[top.at])
		}
		var wrong *fault
		switch c := f.text[f.at]; c {
		case ']', '}':
			if (c == ']') != (f.text[top.at] == '[') {
				return faultAt(f.at, "this %c does not close the %c before it", c, f.text[top.at])
			}
			open = open[:len(open)-1]
			if len(open) > 0 {
				open[len(open)-1].took(top.at, false)
			}
			f.at++
		case '[', '{':
			if top.ended {
				return f.noComma(top)
			}
			open = append(open, &bracket{at: f.at})
			f.at++
		default:
			wrong = f.flowToken(top)
		}
		if wrong != nil {
			return wrong
		}
	}
	return nil
}

// flowBlanks skips blanks, comments and line ends. A line that is a key of the
// block around the brackets is not inside of them.
func (f *finder) flowBlanks(open []*bracket) *fault {
	for f.at < len(f.text) {
		c := f.text[f.at]
		switch {
		case c == '#' && isBlank(f.text[f.at-1]):
			f.skipLine()
			f.at-- // to the line end
			if f.text[f.at] != '\n' {
				f.at++
			}
		case !isBlank(c):
			return nil
		case c == '\n' && f.outside(f.text[f.at+1:]):
			top := open[len(open)-1]
			return faultAt(top.at, "this %c is not closed", f.text[top.at])
		default:
			f.at++
		}
	}
	return nil
}

// outside reports whether a line is a key of one of the open blocks.
func (f *finder) outside(line string) bool {
	line, _, _ = strings.Cut(line, "\n")
	content := strings.TrimLeft(line, " ")
	key, _, found := strings.Cut(content, ":")
	return found && isWord(key) && len(line)-len(content) <= f.top().indent
}

// flowToken reads one thing between brackets.
func (f *finder) flowToken(top *bracket) *fault {
	c, next := f.text[f.at], byte('\n')
	if f.at+1 < len(f.text) {
		next = f.text[f.at+1]
	}
	separate := isBlank(next) || strings.IndexByte(",[]{}", next) >= 0
	complete := top.ended && !top.words // a value that cannot go on: quoted, an alias or brackets
	switch {
	case c == ',':
		return f.flowComma(top)
	case c == ':' && (separate || complete):
		return f.flowColon(top)
	case c == '?' && separate:
		f.lost, f.at = true, len(f.text)
		return nil
	case complete, top.ended && (c == '"' || c == '\''):
		return f.noComma(top)
	case top.ended:
		f.flowWords(top)
		return nil
	}
	return f.flowValue(top, c, next, separate)
}

// flowComma is the comma behind an entry.
func (f *finder) flowComma(top *bracket) *fault {
	if !top.begun {
		return faultAt(f.at, "a comma too many")
	}
	top.newEntry()
	f.at++
	return nil
}

// flowValue reads what begins a key or a value: c is its first character, next
// the one behind it, and separate reports whether next ends a word.
func (f *finder) flowValue(top *bracket, c, next byte, separate bool) *fault {
	start := f.at
	switch {
	case c == '"' || c == '\'':
		if wrong := f.quoted(); wrong != nil {
			return wrong
		}
		top.took(start, false)
		return nil
	case c == '*':
		wrong := f.aliasName()
		top.took(start, false)
		return wrong
	case (c == '&' || c == '!') && !separate:
		f.properties()
		return nil
	case strings.IndexByte("%@`|>&!", c) >= 0, c == '-' && isBlank(next):
		return f.quoteIt(start)
	}
	f.flowWords(top)
	return nil
}

// flowColon is the colon behind a key.
func (f *finder) flowColon(top *bracket) *fault {
	if top.colon {
		return f.secondColon(top)
	}
	if top.ended && f.at-top.value > maxKey {
		return faultAt(top.value, tooLong, maxKey)
	}
	top.begun, top.colon, top.ended = true, true, false
	f.at++
	return nil
}

// secondColon is one behind what was taken for a value. Its last word is the
// next key, then, if there are several.
func (f *finder) secondColon(top *bracket) *fault {
	value := f.text[top.value:f.at]
	blank := strings.LastIndexFunc(strings.TrimRightFunc(value, unicode.IsSpace), unicode.IsSpace)
	if word := strings.TrimSpace(value[blank+1:]); top.words && blank >= 0 && isWord(word) {
		return faultAt(top.value+blank+1, "no comma before %q", word)
	}
	if !top.words && strings.Contains(value, "\n") {
		return faultAt(top.value, "a quote (%c) that is not closed on its line", f.text[top.value])
	}
	return faultAt(f.at, "a second colon: write a comma before the next key, or quote the value if it is one text")
}

// noComma complains about something right behind a value.
func (f *finder) noComma(top *bracket) *fault {
	value := f.text[top.value:f.at]
	if c := value[0]; (c == '"' || c == '\'') && strings.Contains(strings.TrimSpace(value), "\n") {
		return faultAt(top.value, "a quote (%c) that is not closed on its line", c)
	}
	return faultAt(f.at, "no comma before this")
}

// flowWords reads text without quotes: a word, with what follows it up to the
// end of the line.
func (f *finder) flowWords(top *bracket) {
	start := f.at
	for f.at < len(f.text) {
		c, next := f.text[f.at], byte('\n')
		if f.at+1 < len(f.text) {
			next = f.text[f.at+1]
		}
		colon := c == ':' && (isBlank(next) || strings.IndexByte(",[]{}", next) >= 0)
		comment := c == '#' && f.at > start && isBlank(f.text[f.at-1])
		if colon || comment || c == '\n' || strings.IndexByte(",[]{}", c) >= 0 {
			break
		}
		f.at++
	}
	f.collectForeign(start, f.at)
	if top.ended {
		start = top.value // the text goes on
	}
	top.took(start, true)
}
