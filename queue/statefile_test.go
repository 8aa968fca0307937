package queue

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Whoever may write to the folder of the queue does not lead the agent to a
// file elsewhere, and does not hold it up.
func TestAStateFileIsNotWrittenThroughALinkOrAPipe(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "starts")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func() error{
		"a link to a file, in the place of the part": func() error { return os.Symlink(victim, path+".new") },
		"a link to nowhere":                          func() error { return os.Symlink(filepath.Join(dir, "made"), path+".new") },
		"a pipe":                                     func() error { return syscall.Mkfifo(path+".new", 0o600) },
		"what a power cut left":                      func() error { return os.WriteFile(path+".new", []byte("old and long"), 0o600) },
		"a link in the place of the file itself":     func() error { os.Remove(path); return os.Symlink(victim, path) },
		"a hard link":                                func() error { return os.Link(victim, path+".new") },
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		if err := replaceFile(path, []byte("7\n")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := readStateFile(path); string(text) != "7\n" {
			t.Errorf("%s: got %q, %v", name, text, err)
		}
		if text, _ := os.ReadFile(victim); string(text) != "precious" {
			t.Fatalf("%s: another file was written: %q", name, text)
		}
		if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
			t.Errorf("%s: a file was made elsewhere", name)
		}
	}
}

func TestAStateFileThatIsNoneIsNotRead(t *testing.T) {
	dir := t.TempDir()
	pipe, link, folder := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "folder")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, folder} {
		if text, err := readStateFile(path); err == nil {
			t.Errorf("%s: got %q", path, text)
		}
	}
}

// The new file of the queue is not made through a link either.
func TestAFileInTheMakingIsNotALink(t *testing.T) {
	dir := t.TempDir()
	elsewhere, part := filepath.Join(dir, "elsewhere"), filepath.Join(dir, "queue.db.new")
	if err := os.Symlink(elsewhere, part); err != nil {
		t.Fatal(err)
	}
	if d, err := openDB(part); err == nil {
		d.Close()
		t.Error("a file was made through a link")
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("a file was made elsewhere")
	}
}
