// Package slowhash makes hashes of short secrets, such as codes and numbers of cards, and
// reads the files in which people keep them. The hash is PBKDF2 with HMAC-SHA256 (RFC 8018).
//
// All functions and methods may be called from any goroutine.
package slowhash

import (
	"bufio"
	"bytes"
	"context"
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
)

const (
	Scheme        = "pbkdf2-sha256" // as the files have it
	MinIterations = 1_000
	MaxIterations = 1_000_000
	SaltLength    = 16 // bytes, at least; RFC 8018 asks for 8
	Size          = sha256.Size

	// iterations of what is made anew. The secrets have few digits, so whoever has the file
	// finds them whatever this is. 20,000 take 5 ms of a PC, and many times that on a Pi Zero.
	iterations = 20_000
)

// Params are what a hash depends on besides the secret.
type Params struct {
	Iterations int
	Salt       []byte
}

// NewParams returns params with a salt of their own.
func NewParams() Params {
	p := Params{Iterations: iterations, Salt: make([]byte, SaltLength)}
	rand.Read(p.Salt) // never fails: it ends the program
	return p
}

// String is SCHEME:ITERATIONS:SALT, with the salt in base64.
func (p Params) String() string {
	return strings.Join([]string{Scheme, strconv.Itoa(p.Iterations), base64.StdEncoding.EncodeToString(p.Salt)}, ":")
}

// ParseParams reads what String returns. It is not ok if the bounds above do not hold.
func ParseParams(text string) (p Params, ok bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 || parts[0] != Scheme {
		return p, false
	}
	n, err := strconv.Atoi(parts[1])
	salt, wrong := decode(parts[2])
	if err != nil || wrong != nil || n < MinIterations || n > MaxIterations || len(salt) < SaltLength {
		return p, false
	}
	return Params{n, salt}, true
}

// Of is the hash of a secret: Size bytes.
func (p Params) Of(secret string) []byte {
	hash, err := pbkdf2.Key(sha256.New, secret, p.Salt, p.Iterations, Size)
	if err != nil {
		panic("slowhash: " + err.Error()) // of FIPS mode with less than 14 bytes of salt
	}
	return hash
}

// Encode is a hash as the files have it.
func Encode(hash []byte) string { return base64.StdEncoding.EncodeToString(hash) }

// ParseHash reads what Encode returns.
func ParseHash(text string) (hash []byte, ok bool) {
	hash, err := decode(text)
	return hash, err == nil && len(hash) == Size
}

// decode reads strict base64: one value has one text, so that a line that was changed is
// found.
func decode(text string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(text) }

// ReadFile returns the content of a file, but no more than a byte beyond the limit, which
// tells [Lines] that it is too large. It returns when ctx is done, even if the disk hangs; the
// goroutine that reads then ends with the read, or with the process.
func ReadFile(ctx context.Context, path string, limit int) ([]byte, error) {
	type content struct {
		data []byte
		err  error
	}
	read := make(chan content, 1)
	go func() {
		data, err := readFile(path, limit)
		read <- content{data, err}
	}()
	select {
	case c := <-read:
		return c.data, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func readFile(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(limit)+1))
}

// Lines calls take for each line of a file that has at most limit bytes, until one is an
// error, which is returned with the number of the line. Lines that are empty or begin with
// # are left out.
func Lines(data []byte, limit int, take func(text string) error) error {
	if len(data) > limit {
		return fmt.Errorf("is larger than %d KiB", limit>>10)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if err := take(text); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if lines.Err() != nil { // bufio.ErrTooLong: nothing else can fail in memory
		return errors.New("has a line of more than 64 KiB")
	}
	return nil
}
