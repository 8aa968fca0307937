package access

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/slowhash"
)

const maxList = 1 << 20 // bytes of the file: some 15,000 cards

// A List has the hashes of the cards that open a door while no back end answers. All of them have the
// same salt, so that a card is hashed only once. Card numbers have few digits: anyone who can read the
// file can find them by trying all, so it must be kept secret.
//
// The file has a line pbkdf2-sha256:ITERATIONS:SALT, and then a line NAME:HASH for each card, with
// salt and hash in base64. Empty lines and lines that begin with # are ignored.
type List struct {
	params slowhash.Params
	names  map[string]string // by hash
}

// NewList returns a list without a card.
func NewList() *List { return &List{slowhash.NewParams(), map[string]string{}} }

// Head returns the first line of the file.
func (l *List) Head() string { return l.params.String() }

// Line returns the line of a card in the file.
func (l *List) Line(name, number string) (string, error) {
	if !sensors.IsName(name) {
		return "", fmt.Errorf("%q is not a valid name: use letters, digits, _ and -", name)
	}
	if n, err := strconv.ParseUint(number, 10, 53); err != nil || strconv.FormatUint(n, 10) != number {
		return "", errors.New("the number of a card is a whole number without zeros in front, below 9007199254740992")
	}
	return name + ":" + slowhash.Encode(l.params.Of(number)), nil
}

// Find returns the name of a card, and whether the list has it.
func (l *List) Find(number string) (name string, ok bool) {
	name, ok = l.names[string(l.params.Of(number))]
	return name, ok
}

// ReadList reads a list from a file. An error names the line, but does not contain its text.
func ReadList(ctx context.Context, path string) (*List, error) {
	data, err := slowhash.ReadFile(ctx, path, maxList)
	if err != nil {
		return nil, err
	}
	l, err := ParseList(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// ParseList parses the text of a list.
func ParseList(data []byte) (l *List, err error) {
	err = slowhash.Lines(data, maxList, func(text string) error {
		if l == nil {
			params, ok := slowhash.ParseParams(text)
			if !ok {
				return fmt.Errorf("is not %s:ITERATIONS:SALT with %d to %d iterations and a salt of %d bytes or more "+
					"in base64", slowhash.Scheme, slowhash.MinIterations, slowhash.MaxIterations, slowhash.SaltLength)
			}
			l = &List{params, map[string]string{}}
			return nil
		}
		name, encoded, _ := strings.Cut(text, ":")
		hash, ok := slowhash.ParseHash(encoded)
		if !ok || !sensors.IsName(name) {
			return fmt.Errorf("is not NAME:HASH with a hash of %d bytes in base64: make it as docs/consumers.md shows",
				slowhash.Size)
		}
		l.names[string(hash)] = name
		return nil
	})
	if err == nil && l == nil {
		err = fmt.Errorf("has no line: begin with %s:ITERATIONS:SALT, as docs/consumers.md shows", slowhash.Scheme)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}
