package arming

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// FileName is the name of the state file, in the folder of the queue's file.
const FileName = "arming.state"

// A Store is the state file. Only one goroutine at a time may use it, and each call may
// block on the disk.
type Store struct {
	path string
	disk disk
}

// A disk is what the store needs of a file system; a test simulates a power cut.
type disk interface {
	read(path string) ([]byte, error)
	write(path string, data []byte) error // makes a new file; durable after sync
	sync(path string) error               // of a file or of a folder
	rename(from, to string) error         // durable after sync of the folder
}

// NewStore returns the state file at a path.
func NewStore(path string) *Store { return &Store{path, kernel{}} }

// Load reads what was saved.
//
//   - Without a file, as at the first start, the panel is disarmed.
//   - If the file is damaged or cannot be read, the panel is armed in the given mode, and
//     Load returns the error too. A code can end a false alarm, but nobody would notice a
//     house that is no longer watched; and damaging a file must not be a way to disarm.
func (s *Store) Load(mode string) (Saved, error) {
	data, err := s.disk.read(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Saved{State: Disarmed}, nil
	}
	var saved Saved
	if err == nil {
		saved, err = decode(data)
	}
	if err != nil {
		return Saved{State: armed + mode, Mode: mode}, fmt.Errorf("%s: %w", s.path, err)
	}
	return saved, nil
}

// Save writes the file. After a power cut during Save the file has its old or its new
// content; after Save has returned nil it has the new one. Save writes a new file, syncs it,
// renames it, and syncs the folder.
func (s *Store) Save(saved Saved) error {
	part := s.path + ".new"
	if err := s.disk.write(part, saved.encode()); err != nil {
		return err
	}
	if err := s.disk.sync(part); err != nil {
		return err
	}
	if err := s.disk.rename(part, s.path); err != nil {
		return err
	}
	return s.disk.sync(filepath.Dir(s.path))
}

// kernel is the disk of the machine.
type kernel struct{}

// read reads a small regular file. It refuses a symbolic link, which may lead elsewhere, and
// a pipe, which may block.
func (kernel) read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("is not a regular file"))
	}
	return io.ReadAll(io.LimitReader(f, maxSaved+1))
}

// write creates a new file, in place of one that a broken Save has left.
func (kernel) write(path string, data []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func (kernel) sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (kernel) rename(from, to string) error { return os.Rename(from, to) }
