// Package initrd creates the file system that a kernel boots into: a cpio archive in the
// "newc" format (the kernel's Documentation/driver-api/early-userspace/ buffer-format.rst),
// with the kernel modules that the machine needs.
package initrd

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
)

// An Archive is a file system under construction. It adds parent folders automatically. The
// zero value is empty.
type Archive struct {
	buf  bytes.Buffer
	made map[string]bool
}

// File types of cpio's mode field.
const (
	typeFolder  = 0o040000
	typeFile    = 0o100000
	typeLink    = 0o120000
	typeCharDev = 0o020000
)

// File adds a file.
func (a *Archive) File(name string, perm fs.FileMode, data []byte) {
	a.entry(name, typeFile|uint32(perm.Perm()), 0, 0, data)
}

// Link adds a symbolic link.
func (a *Archive) Link(name, target string) { a.entry(name, typeLink|0o777, 0, 0, []byte(target)) }

// Folder adds an empty folder.
func (a *Archive) Folder(name string) {
	if !a.made[name] {
		a.entry(name, typeFolder|0o755, 0, 0, nil)
	}
}

// CharDevice adds a device file.
func (a *Archive) CharDevice(name string, major, minor int) {
	a.entry(name, typeCharDev|0o600, major, minor, nil)
}

// Bytes completes the archive and returns it.
func (a *Archive) Bytes() []byte {
	a.record("TRAILER!!!", 0, 0, 0, nil)
	return a.buf.Bytes()
}

// entry adds the parent folders, then the file itself.
func (a *Archive) entry(name string, mode uint32, major, minor int, data []byte) {
	if above := path.Dir(name); above != "." {
		a.Folder(above)
	}
	if a.made == nil {
		a.made = map[string]bool{}
	}
	a.made[name] = true
	a.record(name, mode, major, minor, data)
}

// record writes a header of 13 hexadecimal numbers, the name and the data, each
// padded to a multiple of four bytes.
func (a *Archive) record(name string, mode uint32, major, minor int, data []byte) {
	const uid, gid, links, mtime, check = 0, 0, 1, 0, 0
	fmt.Fprintf(&a.buf, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		len(a.made), mode, uid, gid, links, mtime, len(data), 0, 0, major, minor, len(name)+1, check)
	a.buf.WriteString(name + "\x00")
	a.pad()
	a.buf.Write(data)
	a.pad()
}

func (a *Archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}
