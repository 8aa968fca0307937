package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// documented finds command lines in documents: in code spans, after a prompt, or indented.
	// Text after two spaces is a comment.
	documented = regexp.MustCompile("(?m)(?:`|^\\$ (?:sudo )?|^    (?:sudo )?)holdfast " +
		"([a-z](?:[^ `\\n&|>;]| [^ `\\n&|>;])*)")
	flagInHelp = regexp.MustCompile(`(?m)^ +-([a-z][a-z-]*)`)
)

// verbsOf are the verbs of a command; none if it takes no verb.
func verbsOf(command string) (verbs []string) {
	for _, v := range queueVerbs {
		verbs = append(verbs, v.name)
	}
	return map[string][]string{"queue": verbs, "ha": {"show", "clear"}, "outputs": {"safe"}, "rules": {"test"},
		"arming": {"code"}}[command]
}

// flagsOf are the flags in a command's help.
func flagsOf(t *testing.T, command string) (found []string) {
	t.Helper()
	help := exec.Command(os.Args[0], command, "-h")
	help.Env = append(os.Environ(), agentEnv+"=1")
	out, err := help.CombinedOutput()
	if err != nil {
		t.Fatalf("%s -h: %v: %s", command, err, out)
	}
	for _, m := range flagInHelp.FindAllStringSubmatch(string(out), -1) {
		found = append(found, m[1])
	}
	return found
}

// TestDocumentedCommandLinesExist checks each command, verb and flag in the documents.
func TestDocumentedCommandLinesExist(t *testing.T) {
	t.Parallel()
	flags := map[string][]string{}
	for _, c := range commands {
		flags[c.name] = flagsOf(t, c.name)
	}
	files, _ := filepath.Glob("../../docs/*.md")
	checked := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
			checked++
			words := strings.Fields(m[1])
			known, exists := flags[words[0]]
			if !exists {
				t.Errorf("%s: there is no such command: holdfast %s", file, m[1])
			}
			verbs := verbsOf(words[0])
			if len(words) > 1 && len(verbs) > 0 && words[1][0] != '-' && !slices.Contains(verbs, words[1]) {
				t.Errorf("%s: there is no such verb: holdfast %s", file, m[1])
			}
			for _, word := range words[1:] {
				if name := strings.TrimLeft(word, "-"); name != word && !slices.Contains(known, name) {
					t.Errorf("%s: there is no flag %s: holdfast %s", file, word, m[1])
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("%d command lines were found: the test is no test", checked)
	}
}
