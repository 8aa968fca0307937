package config

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestErrorHasItsPosition reads testdata/mistakes.txt: files with one error each. A file
// starts with "=== WORDS", which the message has to contain, separated by " / "; ▸ marks
// its position, and \u{A0} is a character that is not visible. A file without mqtt or
// sensors gets them; one that starts with "=== whole" does not, and "=== last" has no line
// end.
func TestErrorHasItsPosition(t *testing.T) {
	data, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split("\n"+string(data), "\n=== ")[1:]
	if len(cases) < 150 {
		t.Errorf("%d mistakes are fewer than 150", len(cases))
	}
	for i, c := range cases {
		head, text, _ := strings.Cut(c, "\n")
		head, whole := strings.CutPrefix(head, "whole: ")
		head, last := strings.CutPrefix(head, "last: ")
		if text += "\n"; last {
			text = strings.TrimSuffix(text, "\n")
		}
		if !whole {
			text = inFile(text)
		}
		text = shown.ReplaceAllStringFunc(text, func(s string) string {
			r, _ := strconv.ParseUint(s[3:len(s)-1], 16, 32)
			return string(rune(r))
		})
		at := strings.Index(text, "▸")
		if at < 0 {
			t.Errorf("%d: no place in %q", i, text)
			continue
		}
		text = strings.Replace(text, "▸", "", 1)
		oneMistake(t, text, at, strings.Split(head, " / "))
	}
}

var shown = regexp.MustCompile(`\\u\{[0-9A-F]+\}`)

// inFile adds what every configuration needs.
func inFile(text string) string {
	if !strings.Contains("\n"+text, "\nmqtt") {
		text = "client_id: c\nmqtt: {server: mqtt://b}\n" + text
	}
	if !strings.Contains("\n"+text, "\nsensors") {
		text += "sensors:\n  other: {kind: simulated, counter: {}, every: 1s}\n"
	}
	return text
}

// oneMistake checks that a text has one error, at an offset, and that the message contains
// some words.
func oneMistake(t *testing.T, text string, at int, words []string) {
	t.Helper()
	_, err := Parse("f", []byte(text))
	var all Errors
	if !errors.As(err, &all) || len(all) != 1 {
		t.Errorf("%s\ngot %v\nwant one mistake: %q", text, err, words)
		return
	}
	if line, col := position(text, at); all[0].Line != line || all[0].Col != col {
		t.Errorf("%s\ngot %v\nwant it at %d:%d", text, err, line, col)
	}
	for _, w := range words {
		if !strings.Contains(all[0].Text, w) {
			t.Errorf("%s\ngot %v\nwant it to say %q", text, err, w)
		}
	}
}
