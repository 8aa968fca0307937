package lines

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func mkfifo(t testing.TB, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// write is what a script does: echo 1 > pipe.
func write(t testing.TB, path, text string) {
	t.Helper()
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPipeStaysOpenWithoutWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tank")
	mkfifo(t, path)
	s := openOf(t, Options{File: path, Quantities: level})
	write(t, path, "1\n2\n")
	hears(t, s, "level 1", "level 2")
	write(t, path, "3\n")
	hears(t, s, "level 3")
}

// A line without its end is one when its writer leaves: it does not become one with
// the next writer's.
func TestUnfinishedLineEndsWhenItsWriterCloses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tank")
	mkfifo(t, path)
	s := openOf(t, Options{File: path, Quantities: level})
	write(t, path, "21")
	hears(t, s, "level 21")
	write(t, path, "22")
	hears(t, s, "level 22")
	write(t, path, strings.Repeat("7", maxLine+1))
	hears(t, s, "was skipped")
	for range 2 { // its last byte, and its writer's end
		if err := s.reader.fill(t.Context(), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path, "23\n24")
	hears(t, s, "level 23", "level 24")
	write(t, path, "\n25\n")
	hears(t, s, "level 25")
}

// A writer that stays may take its time for a line, and a pipe without writers
// costs no processor.
func TestPipeWaitsForItsWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tank")
	mkfifo(t, path)
	s := openOf(t, Options{File: path, Quantities: level})
	write(t, path, "1\n") // and leaves
	hears(t, s, "level 1")
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, part := range []string{"2", "2"} {
		if _, err := w.WriteString(part); err != nil {
			t.Fatal(err)
		}
		if err := s.reader.fill(t.Context(), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if line, ok, _ := s.reader.line(); ok {
			t.Errorf("half a line: %q", line)
		}
	}
	if _, err := w.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	hears(t, s, "level 22")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = s.reader.fill(t.Context(), began.Add(50*time.Millisecond))
	if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) < 50*time.Millisecond {
		t.Errorf("without a writer: %v after %v", err, time.Since(began))
	}
}

func TestReplacedPipeIsDetected(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tank")
	mkfifo(t, path)
	s := openOf(t, Options{File: path})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if samples, err := s.Next(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(samples, err)
	}
	mkfifo(t, path)
	hears(t, s, "was replaced by another")
}

func TestNonPipeErrorSaysWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tank")
	if _, err := openFIFO(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "mkfifo "+path) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openFIFO(path); err == nil || !strings.Contains(err.Error(), "is not a named pipe") {
		t.Error(err)
	}
}

// family is a command with a child, both of which tell their numbers.
func family(t testing.TB, trap string) (s *sensor, pids []int) {
	t.Helper()
	s = shell(t, trap+` sleep 60 & echo $!; echo $$; while :; do sleep 60; done`, Options{})
	for range 2 {
		pid, err := strconv.Atoi(strings.TrimPrefix(said(t, s), "value "))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return s, pids
}

// gone reports whether a process has ended: it is no more, or waits to be
// reaped by another.
func gone(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(text), ") Z ")
}

func TestCloseEndsTheWholeProcessGroup(t *testing.T) {
	t.Parallel()
	for name, trap := range map[string]string{"polite": "", "stubborn": `trap '' TERM;`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, pids := family(t, trap)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			for _, pid := range pids {
				for !gone(pid) { // the child's death is the kernel's to arrange
					runtime.Gosched()
				}
			}
		})
	}
}

func TestCommandsDoNotInheritSecrets(t *testing.T) {
	t.Setenv("HOLDFAST_MQTT_PASSWORD", "geheim")
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/holdfast")
	t.Setenv("TANK", "7")
	hears(t, shell(t, `echo "{\"value\": \"$HOLDFAST_MQTT_PASSWORD$CREDENTIALS_DIRECTORY$TANK\"}"; exec sleep 60`,
		Options{}), "value 7")
	env := []string{"PATH=/bin", "NOTIFY_SOCKET=/run/x", "WATCHDOG_USEC=1", "HOLDFAST_X=1", "HOME=/"}
	if got := childEnv(env); !slices.Equal(got, []string{"PATH=/bin", "HOME=/"}) {
		t.Error(got)
	}
}

func TestCommandLeavesNoFilesOpen(t *testing.T) {
	before := openFiles(t)
	for range 20 {
		s := shell(t, `echo 1; exec sleep 60`, Options{})
		hears(t, s, "value 1")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := openFiles(t); after > before+3 { // Go's own may come meanwhile
		t.Error(before, after)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestProcessOutsideTheGroupDoesNotBlockClose(t *testing.T) {
	t.Parallel()
	hears(t, shell(t, `setsid sleep 5 & echo 1; exit 6`, Options{}), "value 1", "sh ended with status 6")
}
