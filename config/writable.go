package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const byAll = 0o002 // mode bit: all users may write

// writableProblem returns how every user of this machine can change a file, "" if they
// cannot: the file controls what the agent does with its rights. A pipe is not checked. The
// open file is checked, and the folder of the target of a symbolic link.
func writableProblem(path string, f *os.File) string {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	if mode := info.Mode().Perm(); mode&byAll != 0 {
		return fmt.Sprintf("every user of this machine can write this file (mode %04o): chmod o-w %s", mode, path)
	}
	// Users who may write to the folder can replace the file, unless the sticky bit restricts
	// that to owners, as in /tmp.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir := filepath.Dir(path)
	folder, err := os.Stat(dir)
	if err == nil && folder.Mode().Perm()&byAll != 0 && folder.Mode()&fs.ModeSticky == 0 {
		return fmt.Sprintf("every user of this machine can replace this file (its folder has mode %04o): chmod o-w %s",
			folder.Mode().Perm(), dir)
	}
	return ""
}
