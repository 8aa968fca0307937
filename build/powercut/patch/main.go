// Command patch creates the sources that the recorder is built with: a copy of bbolt, and
// an overlay for package os, in which every function that changes a file calls a hook
// first.
//
//	patch OUT BBOLT
//
// OUT is the folder to fill, BBOLT the folder of the released bbolt. The repository
// contains neither. It is an error if a release no longer has a function where this program
// expects it.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed hook.go.txt
var hook []byte

// hooked are the functions of package os that hook.go.txt wraps.
var hooked = map[string]bool{
	"OpenFile": true, "Rename": true, "Remove": true, "Truncate": true,
	"Link": true, "Symlink": true, "Mkdir": true, "OpenRoot": true,
	"File.Write": true, "File.WriteAt": true, "File.ReadFrom": true, "File.Truncate": true, "File.Sync": true,
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: patch OUT BBOLT")
		os.Exit(2)
	}
	out, bbolt := os.Args[1], os.Args[2]
	if err := overlayOS(out); err != nil {
		fatal(fmt.Errorf("overlay package os: %w", err))
	}
	if err := copyBbolt(filepath.Join(out, "bbolt"), bbolt); err != nil {
		fatal(fmt.Errorf("copy bbolt: %w", err))
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "patch:", err)
	os.Exit(1)
}

// copyBbolt copies the package without its tests. On Linux bbolt syncs its file with a
// direct system call; the copy uses package os, like everything else.
func copyBbolt(to, from string) error {
	const bare, hooked = "syscall.Fdatasync(int(db.file.Fd()))", "db.file.Sync()"
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	path := filepath.Join(to, "bolt_linux.go")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if bytes.Count(text, []byte(bare)) != 1 {
		return fmt.Errorf("%s does not call %s once", path, bare)
	}
	text = bytes.Replace(text, []byte(bare), []byte(hooked), 1)
	text = bytes.Replace(text, []byte("import (\n\t\"syscall\"\n)\n"), nil, 1)
	return replace(path, text)
}

// replace writes a file that was copied from the read-only module cache.
func replace(path string, text []byte) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// overlayOS renames the hooked functions of package os and adds the hook.
func overlayOS(out string) error {
	dir := filepath.Join(out, "os")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	list, err := exec.Command("go", "list", "-f", `{{.Dir}} {{join .GoFiles " "}}`, "os").Output()
	if err != nil {
		return err
	}
	names := strings.Fields(string(list))
	source, names := names[0], names[1:]
	found := 0
	replaced := map[string]string{}
	for _, name := range names {
		path := filepath.Join(source, name)
		text, n, err := renamed(path)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		found += n
		replaced[path] = filepath.Join(dir, name)
		if err := os.WriteFile(replaced[path], text, 0o644); err != nil {
			return err
		}
	}
	if found != len(hooked) {
		return fmt.Errorf("found %d of %d functions: the package has changed", found, len(hooked))
	}
	added := filepath.Join(dir, "powercut.go")
	replaced[filepath.Join(source, "powercut.go")] = added
	if err := os.WriteFile(added, hook, 0o644); err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "overlay.json"), overlay, 0o644)
}

// renamed returns a source file in which hooked functions have the prefix "bare", and their
// number.
func renamed(path string) (text []byte, n int, err error) {
	if text, err = os.ReadFile(path); err != nil {
		return nil, 0, err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, 0)
	if err != nil {
		return nil, 0, err
	}
	for i := len(file.Decls) - 1; i >= 0; i-- { // from the end, so that offsets stay valid
		f, ok := file.Decls[i].(*ast.FuncDecl)
		if !ok || !hooked[fullName(f)] {
			continue
		}
		at := files.Position(f.Name.Pos()).Offset
		text = append(text[:at:at], append([]byte("bare"), text[at:]...)...)
		n++
	}
	return text, n, nil
}

func fullName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	if p, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
		if t, ok := p.X.(*ast.Ident); ok {
			return t.Name + "." + f.Name.Name
		}
	}
	return ""
}
