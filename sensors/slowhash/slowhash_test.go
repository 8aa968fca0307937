package slowhash

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHashMatchesRFC7914: another program can make and check the hashes.
func TestHashMatchesRFC7914(t *testing.T) {
	// Section 11: P="Password", S="NaCl", c=80000, the first 32 of 64 bytes. The salt of a
	// file is longer, so only the hash is compared.
	got := hex.EncodeToString(Params{Iterations: 80_000, Salt: []byte("NaCl")}.Of("Password"))
	if want := "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestParamsAreReadAsWritten(t *testing.T) {
	good := NewParams().String()
	if p, ok := ParseParams(good); !ok || p.String() != good {
		t.Errorf("%q is read as %q, %v", good, p, ok)
	}
	for _, text := range []string{"", good + ":", strings.Replace(good, "20000", "999", 1),
		strings.Replace(good, "20000", "1000001", 1), strings.Replace(good, "256", "512", 1), good + "=",
		"pbkdf2-sha256:20000:MDEyMzQ1Njc4OWFiY2Rl"} { // 15 bytes
		if _, ok := ParseParams(text); ok {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestLinesAreNumbered(t *testing.T) {
	var got []string
	err := Lines([]byte("# cards\n\n a \nb\n"), 20, func(text string) error {
		if got = append(got, text); text == "b" {
			return errors.New("is wrong")
		}
		return nil
	})
	if strings.Join(got, " ") != "a b" || err == nil || err.Error() != "line 4: is wrong" {
		t.Errorf("%q, %v", got, err)
	}
	for data, want := range map[string]string{strings.Repeat("#", 2049): "is larger than 2 KiB"} {
		if err := Lines([]byte(data), 2048, nil); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	long := []byte(strings.Repeat("x", 70_000))
	if err := Lines(long, 1<<20, nil); err == nil || !strings.Contains(err.Error(), "64 KiB") {
		t.Errorf("a long line: %v", err)
	}
}

// TestReadFileReturnsWhileTheDiskHangs uses a pipe without a writer.
func TestReadFileReturnsWhileTheDiskHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if data, err := ReadFile(ctx, path, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", data, err)
	}
	// The goroutine that reads ends after the other end is opened.
	other, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
}
