package build

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestProveRunsSkippedTests: build/prove names every test that build/test skips or
// runs only with a sample, so that no test is skipped everywhere.
func TestProveRunsSkippedTests(t *testing.T) {
	script, err := os.ReadFile("prove")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []*regexp.Regexp
	for _, m := range regexp.MustCompile(`-run '?([A-Za-z|]+)'?`).FindAllStringSubmatch(string(script), -1) {
		patterns = append(patterns, regexp.MustCompile(m[1]))
	}
	found := 0
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") || !leftOut(f) {
				continue
			}
			found++
			runs := false
			for _, p := range patterns {
				runs = runs || p.MatchString(f.Name.Name)
			}
			if !runs {
				t.Errorf("%s: %s needs build/prove, which does not name it in a -run", path, f.Name.Name)
			}
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Fatalf("%d tests found: %v", found, err)
	}
}

// leftOut reports whether a test uses `proving` or calls minutesLong with false.
func leftOut(f *ast.FuncDecl) (left bool) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			return false // a method of that name
		case *ast.Ident:
			left = left || n.Name == "proving"
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.Ident); ok && fun.Name == "minutesLong" {
				core, ok := n.Args[1].(*ast.Ident)
				left = left || ok && core.Name == "false"
			}
		}
		return true
	})
	return left
}
