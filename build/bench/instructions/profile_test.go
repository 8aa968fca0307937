package main

import (
	"strings"
	"testing"
)

const table = ` 1000 T main.a
 1010 t main.b
 1020 D main.data
 1030 T type:.eq.[2]struct { a int }
`

func TestBlocksBelongToTheirFunctions(t *testing.T) {
	s, err := parseSymbols(table)
	if err != nil {
		t.Fatal(err)
	}
	few, err := s.profile("1000 4 2\n")
	if err != nil {
		t.Fatal(err)
	}
	many, err := s.profile("1000 4 12\n1004 2 10\n1010 1 10\n102c 3 100\n1030 5 20\nfff 1 1\n1000 4 1\n")
	if err != nil {
		t.Fatal(err)
	}
	got := many.minus(few, 10)
	for name, want := range map[string]float64{"main.a": 6.4, "main.b": 31, "type:.eq.[2]struct { a int }": 10,
		"outside the program": 0.1} {
		if got[name] != want {
			t.Errorf("%s has %v instructions a reading, want %v", name, got[name], want)
		}
	}
	if got.total() != 47.5 {
		t.Errorf("%v instructions a reading, want 47.5", got.total())
	}
	if names := strings.Join(got.largest(2), " "); names != "main.b type:.eq.[2]struct { a int }" {
		t.Errorf("the largest are %s", names)
	}
}

func TestInvalidCountIsAnError(t *testing.T) {
	s, err := parseSymbols(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "1000 4\n", "x 1 1\n"} {
		if p, err := s.profile(text); err == nil {
			t.Errorf("%q is %v", text, p)
		}
	}
	if s, err := parseSymbols(" 1020 D main.data\n"); err == nil {
		t.Errorf("no functions are %v", s)
	}
}

func TestTheMedianIsOfTheTotals(t *testing.T) {
	m := median([]profile{{"a": 1, "b": 8}, {"a": 3}, {"b": 5}})
	if m.total() != 5 {
		t.Errorf("the median is %v", m)
	}
}

func TestAFunctionThatRanOnlyInTheShortRunIsCounted(t *testing.T) {
	if d := (profile{"a": 10}).minus(profile{"b": 10}, 10); d["a"] != 1 || d["b"] != -1 {
		t.Errorf("%v", d)
	}
}
