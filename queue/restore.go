package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// What can happen to the file while it is open.
// They are events, not faults of the disk: restore mends the first two.
var (
	errDeleted   = errors.New("the queue file was deleted under the agent")
	errReplaced  = errors.New("the queue file was replaced under the agent")
	errTruncated = errors.New("the queue file was damaged under the agent")
)

// inPlace says what is wrong with the place of the file: commits that go into a
// file without a name are lost with the process.
func (f *file) inPlace() error {
	ours, err := f.reader.Load().Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errDeleted
	case err != nil:
		return err
	case f.salvagedFrom != nil:
		return fmt.Errorf("%w: %w", errReplaced, f.salvagedFrom) // by what is in memory
	case !os.SameFile(ours, there):
		return errReplaced
	}
	if _, err := openPages(f.reader.Load()); err != nil {
		return fmt.Errorf("%w: %w", errTruncated, err)
	}
	return nil
}

// restore puts the file back into its place, for a reason: all that was in it is
// still there for who has it open. Another file that lies there is kept aside,
// but not before the copy is whole: the damaged file behind a copy in memory is
// all that the next start would find. See finishRename for a power cut in between.
func (st *store) restore(f *file, why error) (storageEvent, error) {
	if err := os.MkdirAll(filepath.Dir(st.path), 0o700); err != nil {
		return storageEvent{}, err
	}
	occupied, err := st.occupied()
	if err != nil {
		return storageEvent{}, err
	}
	if err := st.copyFrom(f.reader.Load()); err != nil {
		return storageEvent{}, fmt.Errorf("restore %s: %w", st.path, err)
	}
	aside, err := st.displace(occupied)
	if err != nil {
		return storageEvent{}, err
	}
	st.log.Error("the queue file was made anew with all that it held", "file", st.path, "why", why, "aside", aside)
	switch {
	case f.salvagedFrom != nil && aside != "":
		f.salvagedFrom = nil
		return storageEvent{"quarantine", jsonObject("file", aside, "why", why.Error())}, nil
	case aside != "":
		return storageEvent{"storage", jsonObject("state", "replaced", "file", st.path, "aside", aside)}, nil
	}
	f.salvagedFrom = nil
	return storageEvent{"storage", jsonObject("state", "deleted", "file", st.path)}, nil
}

// occupied reports whether a file lies in the place of ours that can be moved
// away: a folder stays, and so does a file that another process has open.
func (st *store) occupied() (bool, error) {
	file, err := os.Open(st.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "open", Path: st.path, Err: syscall.EISDIR}
	}
	if err == nil {
		err = lockShared(file)
	}
	return true, err
}

// displace moves away what lies in the place of the file, puts the copy there,
// and returns where the other one is. The copy stays only where it is the file:
// a later start must not find an old one.
func (st *store) displace(occupied bool) (aside string, err error) {
	part := st.path + ".salvaged"
	if occupied {
		aside = fmt.Sprintf("%s.aside-%s-partial", st.path, st.now.UTC().Format(quarantineTime))
		err = moveFile(st.path, aside)
	}
	if err == nil {
		err = moveFile(part, st.path) // also over a symbolic link to nowhere
	}
	if _, there := os.Lstat(st.path); err != nil && there == nil {
		err = errors.Join(err, removeIfThere(part))
	}
	return aside, err
}

// copyFrom makes a copy of a file that has lost its name, under the name that
// finishRename knows. What cannot be read is left out: the damage is noticed when the
// copy is opened.
func (st *store) copyFrom(reader *os.File) error {
	info, err := reader.Stat()
	if err != nil {
		return err
	}
	part := st.path + ".new"
	if err := removeIfThere(part); err != nil {
		return err
	}
	to, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copyPages(to, reader, info.Size())
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return errors.Join(err, removeIfThere(part))
	}
	return moveFile(part, st.path+".salvaged")
}

// copyPages leaves a hole where a page cannot be read, or is empty.
func copyPages(to, from *os.File, size int64) error {
	if err := to.Truncate(size); err != nil {
		return err
	}
	empty := make([]byte, pageSize)
	page := make([]byte, pageSize)
	for at := int64(0); at < size; at += pageSize {
		n, err := from.ReadAt(page, at)
		if err != nil && err != io.EOF || string(page[:n]) == string(empty[:n]) {
			continue
		}
		if _, err := to.WriteAt(page[:n], at); err != nil {
			return err
		}
	}
	return nil
}
