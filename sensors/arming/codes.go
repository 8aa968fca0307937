package arming

import (
	"bufio"
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A code is one line of the codes file: NAME:pbkdf2-sha256:ITERATIONS:SALT:HASH, with salt
// and hash in base64. A line that is empty or begins with # is none.
type code struct {
	name       string // of the person, who is the cause of what the code does
	iterations int
	salt, hash []byte
}

// Codes are the codes that are accepted.
type Codes []code

const (
	scheme = "pbkdf2-sha256"
	// iterations of a new line. A code has few digits, so whoever has the file finds it
	// whatever this is; the lock-out bounds those who have not. 20,000 take 5 ms
	// of a PC for each line, and many times that on a Pi Zero.
	iterations    = 20_000
	minIterations = 1_000
	maxIterations = 1_000_000
	saltLength    = 16 // bytes, as RFC 8018 asks for at least 8
	maxCodes      = 32 // each costs its iterations whenever somebody enters a code
	maxCodesFile  = 64 << 10
	maxCode       = 64 // characters of a code
)

// NewLine makes a line of the codes file.
func NewLine(name, entered string) (string, error) {
	if !sensors.IsName(name) {
		return "", fmt.Errorf("%q is not a valid name: use letters, digits, _ and -", name)
	}
	if n := len(entered); n < 4 || n > maxCode {
		return "", fmt.Errorf("a code has 4 to %d characters", maxCode)
	}
	c := code{name: name, iterations: iterations, salt: make([]byte, saltLength)}
	rand.Read(c.salt) // never fails: it ends the program
	hash, err := c.derive(entered)
	if err != nil {
		return "", err
	}
	c.hash = hash
	return c.String(), nil
}

// String is the line of the code.
func (c code) String() string {
	encode := base64.StdEncoding.EncodeToString
	return strings.Join([]string{c.name, scheme, strconv.Itoa(c.iterations), encode(c.salt), encode(c.hash)}, ":")
}

// derive is the hash of what was entered.
func (c code) derive(entered string) ([]byte, error) {
	return pbkdf2.Key(sha256.New, entered, c.salt, c.iterations, sha256.Size)
}

// ReadCodes reads a codes file. An error names the line, and repeats nothing of it.
func ReadCodes(path string) (Codes, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// One byte more than may be there tells a file that is too large.
	data, err := io.ReadAll(io.LimitReader(f, maxCodesFile+1))
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
func ParseCodes(data []byte) (Codes, error) {
	if len(data) > maxCodesFile {
		return nil, fmt.Errorf("is not a codes file: it is larger than %d KiB", maxCodesFile>>10)
	}
	var codes Codes
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		// Nothing of the line is repeated: somebody may have written the code itself.
		c, ok := parseCode(text)
		switch {
		case !ok:
			return nil, fmt.Errorf("line %d is not a code: make it with holdfast arming code NAME", n)
		case codes.has(c.name):
			return nil, fmt.Errorf("line %d: %s has a code already", n, c.name)
		case len(codes) == maxCodes:
			return nil, fmt.Errorf("line %d: there are more than %d codes", n, maxCodes)
		}
		codes = append(codes, c)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("is not a codes file: %w", err)
	}
	if len(codes) == 0 {
		return nil, errors.New("has no code: add one with holdfast arming code NAME")
	}
	return codes, nil
}

// parseCode reads one line.
func parseCode(text string) (code, bool) {
	// Strict base64: one code has one line, so that a line that was changed is found.
	parts := strings.Split(text, ":")
	if len(parts) != 5 || !sensors.IsName(parts[0]) || parts[1] != scheme {
		return code{}, false
	}
	c := code{name: parts[0]}
	var errs [3]error
	c.iterations, errs[0] = strconv.Atoi(parts[2])
	c.salt, errs[1] = base64.StdEncoding.Strict().DecodeString(parts[3])
	c.hash, errs[2] = base64.StdEncoding.Strict().DecodeString(parts[4])
	ok := errors.Join(errs[:]...) == nil && c.iterations >= minIterations && c.iterations <= maxIterations &&
		len(c.salt) >= saltLength && len(c.hash) == sha256.Size
	return c, ok
}

func (c Codes) has(name string) bool {
	for _, one := range c {
		if one.name == name {
			return true
		}
	}
	return false
}

// Match returns whose code was entered, empty if it is nobody's. It takes the same time
// whichever it is: all hashes are made, and compared in constant time. That is 5 ms for a
// line on a PC, and many times that on a Pi Zero.
func (c Codes) Match(entered string) (name string) {
	if len(entered) > maxCode { // the length of what was entered is no secret
		return ""
	}
	for _, one := range c {
		hash, err := one.derive(entered)
		if err == nil && subtle.ConstantTimeCompare(hash, one.hash) == 1 {
			name = one.name
		}
	}
	return name
}

// A Lock bounds how many codes can be tried: after maxWrong wrong ones in a row none is
// looked at for LockTime, not the right one either. That is five a minute: half of all
// codes of 4 digits in 17 hours, of 6 digits in 70 days. Each lock is an event.
type Lock struct {
	wrong int
	until time.Time // zero: it is open
}

const (
	maxWrong = 5
	LockTime = time.Minute // of a lock-out
)

// IsLocked reports whether no code is looked at.
func (l *Lock) IsLocked(now time.Time) bool { return now.Before(l.until) }

// Until is when it opens; zero: it is open.
func (l *Lock) Until(now time.Time) time.Time {
	if !l.IsLocked(now) {
		return time.Time{}
	}
	return l.until
}

// Tell notes whether a code was right, and reports whether it locks now.
func (l *Lock) Tell(now time.Time, right bool) (locks bool) {
	// A right code clears the count, also of others: who knows one need not guess.
	if l.wrong++; right {
		l.wrong = 0
	}
	if l.wrong < maxWrong {
		return false
	}
	l.wrong, l.until = 0, now.Add(LockTime)
	return true
}
