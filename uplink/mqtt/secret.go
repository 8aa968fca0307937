package mqtt

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const maxPassword = 1<<16 - 1 // bytes: MQTT 3.1.1, section 3.1.3.5

// A Secret says where a password is; it never holds one, so it can be printed.
type Secret struct {
	File string // a file whose first line it is
	Env  string // else an environment variable
	Key  string // what errors call the file; empty: mqtt.password_file
}

// Read returns the password, empty if there is none. A file that everybody on
// the machine can read is refused.
func (s Secret) Read(ctx context.Context) (string, error) {
	password, _, err := s.read(ctx)
	return password, err
}

// read also says what is odd about the password.
func (s Secret) read(ctx context.Context) (password, warning string, err error) {
	where, name, text := "$"+s.Env, "its value", []byte(os.Getenv(s.Env))
	switch {
	case s.File != "":
		where, name = cmp.Or(s.Key, "mqtt.password_file"), s.File
		if text, err = readSecret(ctx, s.File); err != nil {
			return "", "", fmt.Errorf("%s: %w", where, err)
		}
	case len(text) == 0:
		return "", "", nil
	}
	password, err = firstLine(text)
	if err != nil {
		return "", "", fmt.Errorf("%s: the first line of %s %w", where, name, err)
	}
	if strings.TrimSpace(password) != password {
		warning = fmt.Sprintf("%s: the password begins or ends with a blank, which is sent as a part of it", where)
	}
	return password, warning, nil
}

// firstLine is the first line without what editors put around it.
func firstLine(text []byte) (string, error) {
	text, err := plainText(text)
	if err != nil {
		return "", err
	}
	if end := bytes.IndexAny(text, "\r\n"); end >= 0 {
		text = text[:end]
	}
	switch {
	case len(text) == 0:
		return "", errors.New("is empty")
	case len(text) > maxPassword:
		return "", fmt.Errorf("has %d bytes: MQTT takes a password of at most %d", len(text), maxPassword)
	case bytes.IndexByte(text, 0) >= 0:
		return "", errors.New("has a zero byte: this is not text")
	}
	return string(text), nil
}

// plainText removes the mark that some editors put before UTF-8, and refuses
// the other encodings that they write.
func plainText(text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("is UTF-16: save it as UTF-8")
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil
}

const openToAll = 0o006 // read or written by others than the owner and the group

// readSecret reads a file that others must not read or write. The group may:
// packages install secrets as root:holdfast, 0640. What counts is the file
// itself, not a link that leads there.
func readSecret(ctx context.Context, name string) ([]byte, error) {
	c, err := readFile(ctx, name)
	switch {
	case err != nil && ctx.Err() == nil && !mayRepeat(name):
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("%w: the name is not repeated here, for it may be the secret itself: that belongs "+
			"into a file, and the whole path of the file here", err)
	case err != nil:
		return nil, err
	case c.mode.IsRegular() && c.mode.Perm()&openToAll != 0:
		return nil, fmt.Errorf("%s (mode %04o) is open to every user of this machine: chmod 600 %[1]s, or 640 for "+
			"its group", name, c.mode.Perm())
	}
	return c.text, nil
}

// mayRepeat reports whether a message may hold the name of a secret's file: not
// if a person has written the secret there. It is a name if there is such a
// file, or at least one of the folders on the way to it.
func mayRepeat(name string) bool {
	for at := filepath.Clean(name); at != "." && at != ".." && at != "/"; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); err == nil || errors.Is(err, fs.ErrPermission) {
			return true
		}
	}
	return false
}

// IsSet reports whether there is a password, as far as one can tell without
// reading it.
func (s Secret) IsSet() bool { return s.File != "" || os.Getenv(s.Env) != "" }
