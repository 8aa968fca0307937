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

// maxPassword is how many bytes a password in CONNECT may have: MQTT 3.1.1, section
// 3.1.3.5.
const maxPassword = 1<<16 - 1

// A Secret says where a password is. It never holds the password itself, so it may
// be printed and logged.
type Secret struct {
	File string // a file whose first line is the password; empty: Env is used
	Env  string // the name of an environment variable; not set, or empty: there is no password
	Key  string // the configuration's key for File, for errors; empty: mqtt.password_file
}

// Read returns the password, or "" if there is none. It reads the file at each call.
// It refuses a file that is open to every user of the machine, is empty, is not
// UTF-8 text, or has too long a line. Neither errors nor warnings repeat the
// password.
func (s Secret) Read(ctx context.Context) (string, error) {
	password, _, err := s.read(ctx)
	return password, err
}

// read is Read with a warning for a person about a password that is likely not meant
// as it is.
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

// firstLine returns the first line, without its end (LF or CR LF) and a byte order
// mark. The error is the end of a sentence about the line.
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

// plainText removes the byte order mark that some editors put before UTF-8, and
// refuses UTF-16, which they write, too.
func plainText(text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("is UTF-16: save it as UTF-8")
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil
}

// openToAll are the mode bits that let others than the owner and the group read or
// write a file.
const openToAll = 0o006

// readSecret reads a file with a secret. It refuses a regular file that others may
// read or write; the group may, as packages install secrets as root:holdfast, 0640.
// The mode is that of the file itself, not of a symbolic link to it. Pipes and
// devices are exempt.
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

// mayRepeat reports whether an error may have the name of a secret's file in it: it
// may not if a person has written the secret itself in place of the name. It counts
// as a name if the file exists, or at least one of the directories on the way to it.
func mayRepeat(name string) bool {
	for at := filepath.Clean(name); at != "." && at != ".." && at != "/"; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); err == nil || errors.Is(err, fs.ErrPermission) {
			return true
		}
	}
	return false
}

// IsSet reports whether a password is configured. It does not read the file.
func (s Secret) IsSet() bool { return s.File != "" || os.Getenv(s.Env) != "" }
