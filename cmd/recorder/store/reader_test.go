package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// readerEnv has the path of the database in the child process of TestAReaderMayBeAnotherUser.
const readerEnv = "RECORDER_TEST_READER"

// TestAReaderMayBeAnotherUser: a user who may only read the files can read them while the
// recorder runs. When it has ended, SQLite would have to write, and the error says who may.
func TestAReaderMayBeAnotherUser(t *testing.T) {
	if path := os.Getenv(readerEnv); path != "" {
		s, err := OpenExisting(t.Context(), Options{Database: "sqlite:" + path})
		if err == nil {
			_, err = s.Fleet(t.Context())
			err = errors.Join(err, s.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "reader") // t.TempDir is for our user alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "history.db")
	recorder, err := Open(t.Context(), Options{Database: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { recorder.Close() })
	files, _ := filepath.Glob(path + "*") // the pattern is valid
	if len(files) != 3 {
		t.Fatalf("%q, want the database, -wal and -shm", files)
	}
	for _, name := range files {
		if err := os.Chmod(name, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	reader := copyOfTest(t, dir)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if out, err := runReader(reader, path); err != nil {
		t.Errorf("beside the recorder: %v\n%s", err, out)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), recorder.Close(), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	if out, err := runReader(reader, path); err == nil || !strings.Contains(out, useRecordersUser) {
		t.Errorf("without the recorder: %v\n%s", err, out)
	}
}

// copyOfTest copies this test program to where another user may run it.
func copyOfTest(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "store.test")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	return program
}

// runReader runs TestAReaderMayBeAnotherUser in a child process, as nobody if we are root:
// root may write to every file.
func runReader(program, path string) (string, error) {
	cmd := exec.Command(program, "-test.run=^TestAReaderMayBeAnotherUser$")
	cmd.Env, cmd.Dir = append(os.Environ(), readerEnv+"="+path), filepath.Dir(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
