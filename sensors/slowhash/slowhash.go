// Package slowhash computes hashes of short secrets, such as codes and card numbers, and reads
// files of such hashes. The hash is PBKDF2 with HMAC-SHA256 (RFC 8018).
//
// All functions and methods are safe for concurrent use.
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
	Scheme        = "pbkdf2-sha256" // name of the hash in the files
	MinIterations = 1_000
	MaxIterations = 1_000_000
	SaltLength    = 16 // bytes, at least; RFC 8018 asks for 8
	Size          = sha256.Size

	// iterations of new hashes: 5 ms on a PC, and many times that on a Pi Zero. More would not
	// help: secrets with few digits can be found by anyone who has the file.
	iterations = 20_000
)

// Params are the parameters of a hash.
type Params struct {
	Iterations int
	Salt       []byte
}

// NewParams returns parameters with a new random salt.
func NewParams() Params {
	p := Params{Iterations: iterations, Salt: make([]byte, SaltLength)}
	rand.Read(p.Salt) // crypto/rand.Read never returns an error
	return p
}

// String returns SCHEME:ITERATIONS:SALT, with the salt in base64.
func (p Params) String() string {
	return strings.Join([]string{Scheme, strconv.Itoa(p.Iterations), base64.StdEncoding.EncodeToString(p.Salt)}, ":")
}

// ParseParams parses the result of String. ok is false if the text is invalid or a value is out of
// the bounds above.
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

// Of returns the hash of a secret, which has Size bytes. It takes some milliseconds.
func (p Params) Of(secret string) []byte {
	hash, err := pbkdf2.Key(sha256.New, secret, p.Salt, p.Iterations, Size)
	if err != nil {
		panic("slowhash: " + err.Error()) // cannot happen: FIPS mode requires 14 bytes of salt
	}
	return hash
}

// Encode encodes a hash for the files.
func Encode(hash []byte) string { return base64.StdEncoding.EncodeToString(hash) }

// ParseHash parses the result of Encode.
func ParseHash(text string) (hash []byte, ok bool) {
	hash, err := decode(text)
	return hash, err == nil && len(hash) == Size
}

// decode decodes strict base64, in which each value has only one text: so any change of a line is
// detected.
func decode(text string) ([]byte, error) { return base64.StdEncoding.Strict().DecodeString(text) }

// ReadFile returns the content of a file, but at most limit+1 bytes: then [Lines] reports that the
// file is too large. It returns when ctx is done, even if the disk hangs. Its goroutine then ends
// when the read returns.
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

// Lines calls take for each line of data, which may have at most limit bytes. It stops at the first
// error and returns it with the number of the line. It skips empty lines and lines that begin with
// #.
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
