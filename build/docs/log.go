package main

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/build/markdown"
)

//go:embed logpreamble.md
var logPreamble string

// logPage is docs/log.md: a row for each message that the sources can log, with its meaning
// and the remedy.
func logPage(root string) (string, error) {
	lines, err := logLines(root)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(logPreamble)
	for _, part := range logParts {
		fmt.Fprintf(&out, "## %s\n\n| level | message | what it means, and what to do |\n|---|---|---|\n", part.title)
		for _, l := range part.lines {
			level, ok := lines[l.text]
			if !ok {
				return "", fmt.Errorf("no source logs %q: take it out of build/docs/logtext.go", l.text)
			}
			delete(lines, l.text)
			fmt.Fprintf(&out, "| %s | %s | %s |\n", level, cell(l.text), cell(l.means))
		}
		out.WriteString("\n")
	}
	events, err := eventNames(root)
	if err != nil {
		return "", err
	}
	out.WriteString("## Events\n\nOn `agent/event`, queued like an alarm, so that they arrive whatever happens.\n\n" +
		"| event | what it means, and what to do |\n|---|---|\n")
	for _, e := range logEvents {
		delete(events, e.text)
		fmt.Fprintf(&out, "| `%s` | %s |\n", e.text, cell(e.means))
	}
	for name := range events {
		return "", fmt.Errorf("event %q is reported, and build/docs/logtext.go does not say what it means", name)
	}
	for text := range lines {
		return "", fmt.Errorf("%q is logged, and build/docs/logtext.go does not say what it means", text)
	}
	return markdown.Wrap(strings.TrimSuffix(out.String(), "\n")), nil
}

// logLines are the messages in the sources, with their levels. The variable part of a
// message is written as ….
func logLines(root string) (map[string]string, error) {
	lines := map[string]string{}
	return lines, eachSource(root, func(path string) error { return logLinesOf(path, lines) })
}

// eventNames are the names of events that the sources report as string literals.
func eventNames(root string) (map[string]bool, error) {
	names := map[string]bool{}
	return names, eachSource(root, func(path string) error {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := eventName(n); ok {
				names[name] = true
			}
			return true
		})
		return nil
	})
}

// eventName is the name in a call of report or reportLocked, or in an Event, if it is a
// literal.
func eventName(n ast.Node) (string, bool) {
	var expr ast.Expr
	switch n := n.(type) {
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.SelectorExpr); ok && len(n.Args) > 1 &&
			(f.Sel.Name == "report" || f.Sel.Name == "reportLocked") {
			expr = n.Args[0]
		}
	case *ast.CompositeLit:
		if t, ok := n.Type.(*ast.SelectorExpr); ok && t.Sel.Name == "Event" && len(n.Elts) > 0 {
			expr = valueOf(n.Elts[0])
		}
	}
	lit, ok := expr.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	name, err := strconv.Unquote(lit.Value)
	return name, err == nil
}

// valueOf is the value of an element of a composite literal, with or without a key.
func valueOf(e ast.Expr) ast.Expr {
	if kv, ok := e.(*ast.KeyValueExpr); ok {
		return kv.Value
	}
	return e
}

// eachSource calls a function for each source file of the agent.
func eachSource(root string, do func(path string) error) error {
	for _, dir := range []string{"cmd", "config", "queue", "sensors", "uplink"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "recorder" {
				return fs.SkipDir // a separate program
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			return do(path)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// logLinesOf adds the messages of one file.
func logLinesOf(path string, lines map[string]string) (err error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		level, arg, ok := logLevel(call)
		if !ok || arg >= len(call.Args) {
			return true
		}
		text, literal := logText(call.Args[arg])
		texts := []string{text}
		if !literal {
			var expr strings.Builder
			printer.Fprint(&expr, files, call.Args[arg])
			key := filepath.Base(path) + ": " + expr.String()
			if texts, ok = logVariables[key]; !ok {
				err = fmt.Errorf("build/docs/logtext.go does not say what %s logs", key)
			}
		}
		for _, text := range texts {
			if was := lines[text]; was != "" && was != level {
				level = was + ", " + level
			}
			lines[text] = level
		}
		return true
	})
	return err
}

// logLevel is the level of a call that logs, and the index of the argument with the
// message.
func logLevel(call *ast.CallExpr) (level string, arg int, ok bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Info", "Warn", "Error", "Log"}, method.Sel.Name) {
		return "", 0, false
	}
	level = strings.ToLower(method.Sel.Name)
	if level == "log" {
		level, arg = "warn, error", 2
	}
	switch logger := method.X.(type) {
	case *ast.Ident:
		ok = logger.Name == "log"
	case *ast.SelectorExpr:
		ok = strings.EqualFold(logger.Sel.Name, "log")
	case *ast.CallExpr: // s.log().Warn and log().Warn
		made, isMethod := logger.Fun.(*ast.SelectorExpr)
		function, isFunction := logger.Fun.(*ast.Ident)
		ok = isMethod && made.Sel.Name == "log" || isFunction && function.Name == "log"
	default:
		ok = false
	}
	return level, arg, ok
}

// logText is a message made of string literals, or of these and one variable.
func logText(expr ast.Expr) (text string, literal bool) {
	switch e := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		x, okX := logText(e.X)
		y, okY := logText(e.Y)
		return x + y, okX || okY
	}
	return "…", false
}
