package access

import (
	"bufio"
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

const (
	scheme        = "pbkdf2-sha256"
	iterations    = 20_000 // of a new list: done once for each card that is shown
	minIterations = 1_000
	maxIterations = 1_000_000
	saltLength    = 16      // bytes, at least
	maxList       = 1 << 20 // bytes of the file: some 15,000 cards
)

// A List is the cards that open a door while no back end answers, by their hashes. All have
// one salt: a card is hashed once, not once for each line. A number of a card has few
// digits, so whoever has the file can find it by trying: keep the file from others.
//
// The file has a line pbkdf2-sha256:ITERATIONS:SALT, and then a line NAME:HASH for each
// card, with salt and hash in base64. A line that is empty or begins with # is none.
type List struct {
	iterations int
	salt       []byte
	names      map[string]string // by hash
}

// NewList returns a list without a card.
func NewList() *List {
	l := &List{iterations: iterations, salt: make([]byte, saltLength), names: map[string]string{}}
	rand.Read(l.salt) // never fails: it ends the program
	return l
}

// Head is the first line of a list.
func (l *List) Head() string {
	return strings.Join([]string{scheme, strconv.Itoa(l.iterations), base64.StdEncoding.EncodeToString(l.salt)}, ":")
}

// Line is the line of a card.
func (l *List) Line(name, number string) (string, error) {
	if !sensors.IsName(name) {
		return "", fmt.Errorf("%q is not a valid name: use letters, digits, _ and -", name)
	}
	if n, err := strconv.ParseUint(number, 10, 53); err != nil || strconv.FormatUint(n, 10) != number {
		return "", errors.New("the number of a card is a whole number without zeros in front, below 9007199254740992")
	}
	return name + ":" + base64.StdEncoding.EncodeToString([]byte(l.hash(number))), nil
}

// hash is that of a number.
func (l *List) hash(number string) string {
	key, err := pbkdf2.Key(sha256.New, number, l.salt, l.iterations, sha256.Size)
	if err != nil {
		panic("access: " + err.Error()) // of FIPS mode with less than 14 bytes of salt
	}
	return string(key)
}

// Find returns the name of a card, if the list has it.
func (l *List) Find(number string) (name string, ok bool) {
	name, ok = l.names[l.hash(number)]
	return name, ok
}

// ReadList reads a list. An error names the line, and repeats nothing of it.
func ReadList(path string) (*List, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err != nil {
		return nil, err
	}
	l, err := ParseList(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// ParseList reads the text of a list.
func ParseList(data []byte) (*List, error) {
	if len(data) > maxList {
		return nil, errors.New("it is larger than 1 MiB")
	}
	var l *List
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		switch {
		case text == "" || text[0] == '#':
		case l == nil:
			if l = parseHead(text); l == nil {
				return nil, fmt.Errorf("line %d is not %s:ITERATIONS:SALT with %d to %d iterations and a salt of %d bytes "+
					"or more in base64", n, scheme, minIterations, maxIterations, saltLength)
			}
		default:
			name, encoded, _ := strings.Cut(text, ":")
			hash, err := base64.StdEncoding.Strict().DecodeString(encoded)
			if err != nil || len(hash) != sha256.Size || !sensors.IsName(name) {
				return nil, fmt.Errorf("line %d is not NAME:HASH with a hash of %d bytes in base64: make it as "+
					"docs/consumers.md shows", n, sha256.Size)
			}
			l.names[string(hash)] = name
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if l == nil {
		return nil, fmt.Errorf("has no line: begin with %s:ITERATIONS:SALT, as docs/consumers.md shows", scheme)
	}
	return l, nil
}

// parseHead reads the first line; nil: it is none.
func parseHead(text string) *List {
	parts := strings.Split(text, ":")
	if len(parts) != 3 || parts[0] != scheme {
		return nil
	}
	n, err := strconv.Atoi(parts[1])
	salt, wrong := base64.StdEncoding.Strict().DecodeString(parts[2])
	if errors.Join(err, wrong) != nil || n < minIterations || n > maxIterations || len(salt) < saltLength {
		return nil
	}
	return &List{iterations: n, salt: salt, names: map[string]string{}}
}
