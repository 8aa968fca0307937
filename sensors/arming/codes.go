package arming

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/slowhash"
)

// A code is one line of the codes file: NAME:pbkdf2-sha256:ITERATIONS:SALT:HASH, with salt
// and hash in base64. A line that is empty or begins with # is none.
type code struct {
	name   string // of the person, who is the cause of what the code does
	params slowhash.Params
	hash   []byte
}

// Codes are the codes that are accepted.
type Codes []code

const (
	maxCodes     = 32 // each costs its iterations whenever somebody enters a code
	maxCodesFile = 64 << 10
	maxCode      = 64 // characters of a code
)

// NewLine makes a line of the codes file.
func NewLine(name, entered string) (string, error) {
	if !sensors.IsName(name) {
		return "", fmt.Errorf("%q is not a valid name: use letters, digits, _ and -", name)
	}
	if n := len(entered); n < 4 || n > maxCode {
		return "", fmt.Errorf("a code has 4 to %d characters", maxCode)
	}
	c := code{name: name, params: slowhash.NewParams()}
	c.hash = c.params.Of(entered)
	return c.String(), nil
}

// String returns the code's line of the codes file.
func (c code) String() string {
	return strings.Join([]string{c.name, c.params.String(), slowhash.Encode(c.hash)}, ":")
}

// ReadCodes reads a codes file. An error names the line but never contains its text.
func ReadCodes(ctx context.Context, path string) (Codes, error) {
	data, err := slowhash.ReadFile(ctx, path, maxCodesFile)
	if err != nil {
		return nil, err
	}
	codes, err := ParseCodes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return codes, nil
}

// ParseCodes reads the text of a codes file. A file without a code is an error: nobody
// could disarm.
func ParseCodes(data []byte) (codes Codes, err error) {
	err = slowhash.Lines(data, maxCodesFile, func(text string) error {
		// Nothing of the line is repeated: somebody may have written the code itself.
		c, ok := parseCode(text)
		switch {
		case !ok:
			return errors.New("is not a code: make it with holdfast arming code NAME")
		case codes.has(c.name):
			return fmt.Errorf("%s has a code already", c.name)
		case len(codes) == maxCodes:
			return fmt.Errorf("there are more than %d codes", maxCodes)
		}
		codes = append(codes, c)
		return nil
	})
	if err == nil && len(codes) == 0 {
		err = errors.New("has no code: add one with holdfast arming code NAME")
	}
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// parseCode reads one line.
func parseCode(text string) (code, bool) {
	name, rest, _ := strings.Cut(text, ":")
	end := max(strings.LastIndexByte(rest, ':'), 0)
	params, ok := slowhash.ParseParams(rest[:end])
	hash, whole := slowhash.ParseHash(strings.TrimPrefix(rest[end:], ":"))
	return code{name, params, hash}, ok && whole && sensors.IsName(name)
}

func (c Codes) has(name string) bool {
	for _, one := range c {
		if one.name == name {
			return true
		}
	}
	return false
}

// Match returns the name of the person whose code was entered; empty: it is nobody's. Its
// time does not depend on the code: it computes all hashes and compares them in constant
// time. That takes 5 ms for each line on a PC, and many times that on a Pi Zero.
func (c Codes) Match(entered string) (name string) {
	if len(entered) > maxCode { // the length of what was entered is no secret
		return ""
	}
	for _, one := range c {
		if subtle.ConstantTimeCompare(one.params.Of(entered), one.hash) == 1 {
			name = one.name
		}
	}
	return name
}

// A Lock limits how fast codes can be tried: after maxWrong wrong codes in a row, every code
// is refused for LockTime, also the right one. That is five codes a minute: half of all
// codes of 4 digits take 17 hours, of 6 digits 70 days. The caller reports each lock as an
// event. Only one goroutine at a time may use a Lock.
type Lock struct {
	wrong int
	until time.Time // zero: it is open
}

const (
	maxWrong = 5
	LockTime = time.Minute // how long codes are refused
)

// IsLocked reports whether every code is refused.
func (l *Lock) IsLocked(now time.Time) bool { return now.Before(l.until) }

// Until returns when codes are accepted again; zero: they are accepted.
func (l *Lock) Until(now time.Time) time.Time {
	if !l.IsLocked(now) {
		return time.Time{}
	}
	return l.until
}

// Count counts a right or a wrong code, and reports whether this one locks.
func (l *Lock) Count(now time.Time, right bool) (locks bool) {
	// A right code resets the count: a person who knows one does not need to guess another.
	if l.wrong++; right {
		l.wrong = 0
	}
	if l.wrong < maxWrong {
		return false
	}
	l.wrong, l.until = 0, now.Add(LockTime)
	return true
}
