// Figures prints size figures for each package: files, lines, comments, tests, the largest
// types, the longest functions and those with the most branches, and lines over 120
// columns.
//
//	go run ./build/figures [FOLDER]
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxColumns = 120
	maxCyclo   = 15
)

// A count has the figures of one package.
type count struct {
	files, testFiles int
	code, comment    int // lines of product code; lines with a comment
	test             int // lines of code in tests
	wide             int // lines over maxColumns, tests included
	examples         int
	branched         []string       // functions over maxCyclo
	fields           map[string]int // by type
	methods          map[string]int
}

func main() {
	log.SetFlags(0)
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	counts := map[string]*count{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		c := counts[dir]
		if c == nil {
			c = &count{fields: map[string]int{}, methods: map[string]int{}}
			counts[dir] = c
		}
		return c.add(path)
	})
	if err != nil {
		log.Fatal(err)
	}
	print(counts)
}

func print(counts map[string]*count) {
	var dirs []string
	for dir := range counts {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	fmt.Printf("%-24s %7s %6s %8s %8s %5s %8s  %-26s %s\n",
		"package", "files", "code", "comment", "test", ">120", "Examples", "most fields", "most methods")
	for _, dir := range dirs {
		c := counts[dir]
		fmt.Printf("%-24s %3d+%-3d %6d %8.2f %8.2f %5d %8d  %-26s %s\n", dir, c.files, c.testFiles, c.code,
			ratio(c.comment, c.code), ratio(c.test, c.code), c.wide, c.examples, widest(c.fields), widest(c.methods))
	}
	for _, dir := range dirs {
		for _, f := range counts[dir].branched {
			fmt.Printf("over %d branches: %s: %s\n", maxCyclo, dir, f)
		}
	}
}

func ratio(a, b int) float64 { return float64(a) / float64(max(b, 1)) }

func widest(of map[string]int) string {
	name, n := "", 0
	for t, k := range of {
		if k > n || k == n && t < name {
			name, n = t, k
		}
	}
	return fmt.Sprintf("%d %s", n, name)
}

func (c *count) add(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	code, comment := linesOf(fset, file, lines)
	for _, l := range lines {
		if utf8.RuneCountInString(strings.ReplaceAll(l, "\t", "    ")) > maxColumns {
			c.wide++
		}
	}
	if strings.HasSuffix(path, "_test.go") {
		c.testFiles++
		c.test += code
	} else {
		c.files++
		c.code += code
		c.comment += comment
	}
	for _, d := range file.Decls {
		c.declaration(d, strings.HasSuffix(path, "_test.go"))
	}
	return nil
}

// linesOf counts the lines with code and those with a comment; a line may have both.
func linesOf(fset *token.FileSet, file *ast.File, lines []string) (code, comment int) {
	commented := map[int]bool{}
	pure := map[int]bool{} // a comment and nothing else
	for _, g := range file.Comments {
		for n := fset.Position(g.Pos()).Line; n <= fset.Position(g.End()).Line; n++ {
			commented[n] = true
			pure[n] = strings.HasPrefix(strings.TrimSpace(lines[n-1]), "//")
		}
	}
	for i, l := range lines {
		if strings.TrimSpace(l) != "" && !pure[i+1] {
			code++
		}
	}
	return code, len(commented)
}

func (c *count) declaration(d ast.Decl, test bool) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if strings.HasPrefix(d.Name.Name, "Example") && test {
			c.examples++
		}
		if d.Recv != nil && !test {
			c.methods[receiver(d.Recv.List[0].Type)]++
		}
		if n := cyclomatic(d); n > maxCyclo && !test {
			c.branched = append(c.branched, fmt.Sprintf("%s has %d", d.Name.Name, n))
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			t, ok := s.(*ast.TypeSpec)
			if !ok || test {
				continue
			}
			if st, ok := t.Type.(*ast.StructType); ok {
				c.fields[t.Name.Name] = fieldsOf(st)
			}
		}
	}
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

func fieldsOf(st *ast.StructType) (n int) {
	for _, f := range st.Fields.List {
		n += max(len(f.Names), 1)
	}
	return n
}

// cyclomatic is one more than the number of branches: if, for, case, && and ||.
func cyclomatic(f *ast.FuncDecl) int {
	n := 1
	ast.Inspect(f, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.CommClause:
			if x.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}
