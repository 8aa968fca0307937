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

// What other programs can do to the file while it is open. The disk is not at fault.
// restore repairs the first two.
var (
	errDeleted   = errors.New("the queue file was deleted under the agent")
	errReplaced  = errors.New("the queue file was replaced under the agent")
	errTruncated = errors.New("the queue file was damaged under the agent")
)

// inPlace returns an error unless the path leads to the open file. Commits into a file
// whose name is gone would be lost when the process ends.
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
		return fmt.Errorf("%w: %w", errReplaced, f.salvagedFrom) // the open file is in memory, see salvageInMemory
	case !os.SameFile(ours, there):
		return errReplaced
	}
	if _, err := openPages(f.reader.Load()); err != nil {
		return fmt.Errorf("%w: %w", errTruncated, err)
	}
	return nil
}

// restore writes a copy of the open file to its path; why is the reason. The open file
// still has all its content, even without a name. If another file is at the path, it is
// renamed, but only after the copy is complete: it may be the damaged file whose salvaged
// content is only in memory. finishRename continues after a power cut in between.
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
	st.log.Error("the queue file was restored with all that it contained", "file", st.path, "why", why, "aside", aside)
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

// occupied reports whether there is a file at the path that may be renamed. A folder, or a
// file that another process has open, is an error.
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

// displace renames the file at the path, if it is occupied, then renames the copy to the
// path. It returns the new name of the other file. If a rename fails and there is a file
// at the path, the copy is deleted, because a later start must not use an old copy.
func (st *store) displace(occupied bool) (aside string, err error) {
	part := st.path + ".salvaged"
	if occupied {
		aside = fmt.Sprintf("%s.aside-%s-partial", st.path, st.now.UTC().Format(quarantineTime))
		err = moveFile(st.path, aside)
	}
	if err == nil {
		err = moveFile(part, st.path) // also replaces a broken symbolic link
	}
	if _, there := os.Lstat(st.path); err != nil && there == nil {
		err = errors.Join(err, removeIfThere(part))
	}
	return aside, err
}

// copyFrom copies a file, which may have no name any more, to the name that finishRename
// uses. Pages that cannot be read are left empty: the damage is found when the copy is
// opened.
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

// copyPages copies all pages. For a page that cannot be read, or is empty, the new file
// has a hole (zeros).
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
