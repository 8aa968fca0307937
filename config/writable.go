package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const byAll = 0o002 // written by others than the owner and the group

// writableProblem says how every user of this machine can change a file, "" if they cannot:
// what the file makes the agent do is done with the agent's rights. A pipe says
// nothing about that. It looks at the file that is open, and at the folder of where
// a symbolic link leads.
func writableProblem(path string, f *os.File) string {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	if mode := info.Mode().Perm(); mode&byAll != 0 {
		return fmt.Sprintf("every user of this machine can write this file (mode %04o): chmod o-w %s", mode, path)
	}
	// Whoever may write the folder can put another file in its place, unless the
	// sticky bit keeps files for their owners, as in /tmp.
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
