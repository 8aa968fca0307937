package uplink

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// A Secret says where a password is; it never holds one, so it can be printed.
type Secret struct {
	File string // a file whose first line it is
	Env  string // else an environment variable
}

// Read returns the password, empty if there is none. A file that everybody on
// the machine can read is refused.
func (s Secret) Read() (string, error) {
	if s.File == "" {
		return os.Getenv(s.Env), nil
	}
	text, err := readSecret(s.File)
	if err != nil {
		return "", fmt.Errorf("mqtt.password_file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("mqtt.password_file: the first line of %s is empty", s.File)
	}
	return line, nil
}

const (
	openToAll  = 0o006   // read or written by others than the owner and the group
	mostSecret = 1 << 20 // bytes: no password and no key is larger, and /dev/zero has no end
)

// readSecret reads a file that others must not read or write. The group may:
// packages install secrets as root:holdfast, 0640. What counts is the file
// itself, not a link that leads there.
func readSecret(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&openToAll != 0 {
		return nil, fmt.Errorf("%s (mode %04o) is open to every user of this machine: chmod 600 %[1]s, or 640 for its group", name, mode.Perm())
	}
	return io.ReadAll(io.LimitReader(f, mostSecret))
}

// IsSet reports whether there is a password, as far as one can tell without
// reading it.
func (s Secret) IsSet() bool { return s.File != "" || os.Getenv(s.Env) != "" }
