package config

import (
	"errors"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// mutations are typing errors, each at one place of a line.
var mutations = []struct {
	name string
	make func(line string) []string // the line with the error at each possible place
}{
	{"a colon is missing", without(": ", " ")},
	{"the blank after a colon is missing", without(": ", ":")},
	{"a comma is missing", without(", ", " ")},
	{"an opening bracket is missing", without("{", "")},
	{"a closing bracket is missing", without("}", "")},
	{"a closing bracket is missing", without("]", "")},
	{"a quote is missing", without(`"`, "")},
	{"a bracket too many", without("}", "}}")},
	{"the wrong bracket", without("}", "]")},
	{"a colon too many", without(": ", ": : ")},
	{"a value that begins with %", without(": ", ": %")},
	{"a value that begins with @", without(": ", ": @")},
	{"a tab", func(line string) []string { return []string{"\t" + line} }},
	{"a space more", func(line string) []string { return []string{" " + line} }},
	{"a space less", func(line string) []string {
		if strings.HasPrefix(line, " ") {
			return []string{line[1:]}
		}
		return nil
	}},
}

// without replaces each occurrence of a part of the line in turn.
func without(part, by string) func(string) []string {
	return func(line string) (all []string) {
		for i := range line {
			if strings.HasPrefix(line[i:], part) {
				all = append(all, line[:i]+by+line[i+len(part):])
			}
		}
		return all
	}
}

func TestSyntaxErrorHasItsLine(t *testing.T) {
	total, wrong := 0, 0
	for _, name := range []string{"larger", "kernel", "smallest"} {
		data, err := os.ReadFile("testdata/good/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(data), "\n")
		for i, line := range lines {
			for _, m := range mutations {
				for _, slip := range m.make(line) {
					lines[i] = slip
					text := strings.Join(lines, "\n")
					var n yaml.Node
					if yaml.Unmarshal([]byte(text), &n) == nil {
						continue
					}
					total++
					_, err := Parse("f", []byte(text))
					var all Errors
					if !errors.As(err, &all) || len(all) != 1 || all[0].Line != i+1 {
						wrong++
						t.Errorf("%s: line %d, %s: %q\nbefore %q\n%v", name, i+1, m.name, slip, lines[max(0, i-1)], err)
					}
				}
			}
			lines[i] = line
		}
	}
	t.Logf("%d of %d told elsewhere", wrong, total)
}
