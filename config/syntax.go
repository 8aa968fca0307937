package config

import (
	"fmt"
	"slices"
	"strings"
)

// A fault is an error in the YAML of a file, and its position.
type fault struct {
	at   int // offset
	text string
}

// faultAt returns a fault at an offset. The text must contain nothing that may be a secret.
func faultAt(at int, format string, args ...any) *fault {
	return &fault{at, fmt.Sprintf(format, args...)}
}

// A finder reads a text that the YAML library has rejected, to find the error and its
// position: the library reports the line where the enclosing block begins, and no column.
// The finder reads the YAML that users write into configurations; for other YAML the error
// of the library is used.
//
// It also collects characters that look like others: they explain the errors of a file that
// is valid YAML.
//
// The finder handles blocks, its scanner characters, and a flowReader the text in brackets.
type finder struct {
	scanner
	blocks   []block // open blocks, the outermost first; the indentation never decreases
	directed bool    // a directive was read, and its --- was not
}

// newFinder returns a finder at the start of a text.
func newFinder(text string) *finder {
	return &finder{scanner: scanner{text: text, anchors: map[string]bool{}}}
}

// A block is an open mapping or list, or the text at the top of a file.
type block struct {
	indent int // of its entries, in spaces
	kind   blockKind
	has    content // content of the last entry
	value  int     // offset of the value of the last entry
	first  int     // offset of its first entry
	count  int     // number of its entries
}

// took notes that an entry begins at an offset.
func (b *block) took(kind blockKind, at int) {
	if b.count == 0 {
		b.first = at
	}
	b.kind, b.has = kind, nothing
	b.count++
}

// blockKind is the type of a block, which its first line determines.
type blockKind int

const (
	undecided blockKind = iota // no line was read yet
	mapping                    // keys and values
	list                       // entries after dashes
	text                       // no block, but the only value of a file
)

// content is what follows the last key or dash of a block.
type content int

const (
	nothing  content = iota
	plain            // text without quotes, which may continue on the next line
	complete         // quoted text, a flow collection, an alias, a literal
)

// maxDepth limits the work on a line with many dashes.
const maxDepth = 100

// find returns the first fault, or nil.
func (f *finder) find() *fault {
	f.at = len(f.text) - len(strings.TrimPrefix(f.text, byteOrderMark))
	for f.at < len(f.text) && !f.lost {
		if wrong := f.line(); wrong != nil {
			return wrong
		}
	}
	return nil
}

// line reads a line, and the lines on which its values continue. Blank lines and comments
// are ignored; --- and ... end every block; any other line belongs to a block by its
// indentation, which settle finds.
func (f *finder) line() *fault {
	indent := len(f.rest()) - len(strings.TrimLeft(f.rest(), " "))
	f.at += indent
	blank := strings.TrimLeft(f.rest(), " \t")
	switch {
	case blank == "" || blank[0] == '#':
		f.skipLine()
		return nil
	case f.rest()[0] == '\t':
		return faultAt(f.at, "a tab: YAML indents with spaces")
	case indent == 0 && f.marker():
		f.blocks, f.directed = nil, false
		f.skipLine()
		return nil
	case indent == 0 && f.rest()[0] == '%' && len(f.blocks) == 0:
		return f.directive()
	case f.directed && len(f.blocks) == 0:
		return faultAt(f.at, `a line with "---" is missing between the directives (%%) and the first key`)
	}
	if wrong, done := f.settle(indent); done || wrong != nil {
		return wrong
	}
	return f.entry(indent)
}

// directive reads a line such as %YAML 1.2. It comes before the --- of its document.
// Directives other than %YAML are left to the library.
func (f *finder) directive() *fault {
	start := f.at
	line, _, _ := strings.Cut(f.rest(), "\n")
	if strings.HasPrefix(line, "%YAML") && !yamlVersion.MatchString(line) {
		return faultAt(start, "this is read as YAML 1.1 or 1.2: take the line out")
	}
	f.directed = true
	f.skipLine()
	return nil
}

// settle closes the blocks that end before a line, and opens the one that starts with it.
// done is true if the line only continues a text.
func (f *finder) settle(indent int) (wrong *fault, done bool) {
	// before has the blocks that are closed here: an error may be in one of them.
	before := f.blocks
	for len(f.blocks) > 0 && f.top().indent > indent {
		f.blocks = f.blocks[:len(f.blocks)-1]
	}
	if len(before) == 0 {
		f.blocks = append(f.blocks, block{indent: indent})
		return nil, false
	}
	closed := before[len(f.blocks):]
	switch {
	case len(f.blocks) == 0, len(closed) > 0 && f.top().indent < indent:
		return f.misplaced(before, closed[0], indent), true
	case f.top().indent == indent:
		return f.sibling(indent), false
	case f.top().has == nothing:
		f.blocks = append(f.blocks, block{indent: indent})
		return nil, false
	case f.top().has == plain:
		return f.continued(indent)
	}
	return f.deeper(indent), true
}

const unevenBlock = "indented by %d, the next line by %d: the keys of a block begin in one column"

// misplaced handles a line whose indentation is that of no open block. If the block before
// it has a single entry at an unusual column, the error is there.
func (f *finder) misplaced(before []block, closed block, indent int) *fault {
	if closed.count == 1 && closed.indent%2 == 1 && indent%2 == 0 {
		return faultAt(closed.first, unevenBlock, closed.indent, indent)
	}
	var known []string
	for _, b := range before {
		known = append(known, fmt.Sprint(b.indent))
	}
	return faultAt(f.at, "indented by %d, which is that of no block above: these have %s",
		indent, strings.Join(slices.Compact(known), ", "))
}

// deeper handles a line inside of a key that already has its value.
func (f *finder) deeper(indent int) *fault {
	if top := f.top(); top.count == 1 && top.indent%2 == 1 && indent%2 == 0 {
		return faultAt(top.first, unevenBlock, top.indent, indent)
	}
	return faultAt(f.at, "indented more than the line above, which has its value already")
}

// sibling handles a line at the indentation of the innermost block. A list may be in the
// column of its key:
//
//	servers:
//	- mqtts://a
//	- mqtts://b
//	username: porch
//
// so a dash after a key without a value opens a list, and a key after such a list closes
// it.
func (f *finder) sibling(indent int) *fault {
	switch dash := f.dash(); {
	case dash && f.top().kind == mapping && f.top().has == nothing:
		f.blocks = append(f.blocks, block{indent: indent, kind: list})
	case dash && f.top().kind == mapping:
		return faultAt(f.at, "an entry of a list (-) among keys")
	case !dash && f.top().kind == list:
		if n := len(f.blocks); n > 1 && f.blocks[n-2].indent == indent {
			f.blocks = f.blocks[:n-1]
			return nil
		}
		return faultAt(f.at, `this is not an entry of a list, which begins with "- "`)
	}
	return nil
}

// continued handles a line that continues the text of the previous line, as YAML allows for
// a value without quotes. A line that looks like a key is an error there.
func (f *finder) continued(indent int) (*fault, bool) {
	// A key in the middle of a text: either the text should have been a key, or this line has
	// the wrong indentation.
	if colon := f.key(); colon >= 0 {
		value := f.top().value
		if strings.Contains(f.text[value:f.at], "\n") && f.startsLine(value) {
			return f.noColon(value), true
		}
		return f.deeper(indent), true
	}
	f.plain()
	return nil, true
}

// noColon reports a line that should have been a key with its value. The message has only
// the first word as the key, because the rest may be a secret.
func (f *finder) noColon(at int) *fault {
	line, _, _ := strings.Cut(f.text[at:], "\n")
	word := strings.TrimRight(line, " \t\r")
	if key, _, found := strings.Cut(word, ":"); found && isWord(key) {
		return faultAt(at, noBlank, key+": ")
	}
	if key, _, _ := strings.Cut(word, " "); isWord(key) {
		return faultAt(at, noColon, key+": ")
	}
	return faultAt(at, "a key is missing: a line is a key, a colon and a value")
}

// entry reads what is at f.at: a dash, a key or a text. It belongs to the innermost block.
// A key in the form "? key" is valid YAML that nobody uses in a configuration; the finder
// stops there.
func (f *finder) entry(indent int) *fault {
	if f.dash() {
		f.top().took(list, f.at)
		return f.dashed(indent)
	}
	if strings.HasPrefix(f.rest(), "? ") {
		f.lost = true
		return nil
	}
	colon := f.key()
	switch {
	case colon < 0 && f.top().kind == mapping:
		return f.noColon(f.at)
	case colon < 0 && len(f.blocks) > 1: // value of the key above
		f.blocks = f.blocks[:len(f.blocks)-1]
		return f.value()
	case colon < 0:
		f.top().kind = text
		return f.value()
	case f.top().kind == text:
		return f.noColon(f.top().value)
	}
	if colon-f.at > maxKey {
		return faultAt(f.at, tooLong, maxKey)
	}
	f.top().took(mapping, f.at)
	f.collectUnusual(f.at, colon)
	key := f.at
	f.at = colon + 1
	// "kind:contact, gpio: 17" is one key with a second colon in YAML; the error is the missing
	// space.
	wrong := f.value()
	if wrong == nil {
		return nil
	}
	if word := glued(f.text[key:colon]); word != "" {
		return faultAt(key, noBlank, word+": ")
	}
	// "door {kind: contact, gpio: 17}" is also one key.
	if word, _, found := strings.Cut(f.text[key:colon], " {"); found && isWord(word) {
		return faultAt(key, noColon, word+": ")
	}
	return wrong
}

// dashed reads an entry of a list. What follows the dash may be a block of its own,
// whose indentation is that of its first key:
//
//   - kind: w1
//     id: 28-0316a2797bff
func (f *finder) dashed(indent int) *fault {
	begin := f.at
	f.at++
	f.skipBlanks()
	if f.endOfLine() {
		return nil
	}
	if len(f.blocks) > maxDepth {
		f.lost = true
		return nil
	}
	if f.key() >= 0 || f.dash() {
		inner := indent + f.at - begin
		f.blocks = append(f.blocks, block{indent: inner})
		return f.entry(inner)
	}
	return f.value()
}

// top is the innermost open block. While a line is read there is at least one.
func (f *finder) top() *block { return &f.blocks[len(f.blocks)-1] }

// isBlank reports whether a character separates words. All of them have one byte, so a text
// can be scanned by bytes.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
