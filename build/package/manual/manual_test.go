package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const help = `Usage: holdfast COMMAND [-c FILE]

  run      the agent; SIGHUP reads the file again
  queue    what waits: shows it's contents

The configuration is /etc/holdfast/config.yaml.
`

const queueHelp = `Usage: holdfast queue [-c FILE] VERB

  stats    what waits
  purge    gives up [everything]; asks first

  -c file
    	configuration file; - reads standard input
  -n number
    	peek at this number (default 20)
  -v	say more
`

func asked(t *testing.T) program {
	t.Helper()
	p, err := ask(func(args ...string) (string, error) {
		switch fmt.Sprint(args) {
		case "[help]":
			return help, nil
		case "[run -h]":
			return "Usage of holdfast run:\n  -c file\n    \tconfiguration file\n", nil
		case "[queue -h]":
			return queueHelp, nil
		}
		return "", fmt.Errorf("%v was asked for", args)
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUsageTextsAreRead(t *testing.T) {
	p := asked(t)
	got := fmt.Sprintf("%+v", p.commands[1])
	want := fmt.Sprintf("%+v", command{word{"queue", "what waits: shows it's contents"}, "holdfast",
		"holdfast queue [-c FILE] VERB",
		[]word{{"stats", "what waits"}, {"purge", "gives up [everything]; asks first"}},
		[]option{{"c", "file", "configuration file; - reads standard input"},
			{"n", "number", "peek at this number (default 20)"},
			{"v", "", "say more"}}})
	if len(p.commands) != 2 || got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

func TestPagesAreComplete(t *testing.T) {
	p := asked(t)
	e := edition{"1.0", "2026-01-02"}
	for _, want := range []string{".BR holdfast\\-queue (1)", "1.0", "2026-01-02", "/etc/holdfast/config.yaml"} {
		if !strings.Contains(p.page(e), want) {
			t.Errorf("holdfast(1) has no %q:\n%s", want, p.page(e))
		}
	}
	page := p.commands[1].page(e)
	for _, want := range []string{".BI \\-n \" number\"\nPeek at this number", ".B purge\n", ".B \\-v\nSay more."} {
		if !strings.Contains(page, want) {
			t.Errorf("holdfast-queue(1) has no %q:\n%s", want, page)
		}
	}
}

// TestRecorderHasItsOwnPages: its name has a dash, and so has one of its commands.
func TestRecorderHasItsOwnPages(t *testing.T) {
	p, err := ask(func(args ...string) (string, error) {
		if args[0] == "help" {
			return "Usage: holdfast-recorder COMMAND [-c FILE]\n\n  run       records\n" +
				"  import-ha writes hours\n\nThe end.\n", nil
		}
		return "Usage of holdfast-recorder " + args[0] + ":\n  -token_file file\n    \tthe token\n", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e := edition{"1.0", "2026-01-02"}
	for _, want := range []string{".BR holdfast\\-recorder\\-import\\-ha (1)", "/etc/holdfast/recorder.yaml"} {
		if !strings.Contains(p.page(e), want) {
			t.Errorf("holdfast-recorder(1) has no %q:\n%s", want, p.page(e))
		}
	}
	if page := p.commands[1].page(e); !strings.Contains(page, ".B holdfast\\-recorder import\\-ha [OPTION...]") ||
		!strings.Contains(page, ".BI \\-token_file") {
		t.Errorf("holdfast-recorder-import-ha(1):\n%s", page)
	}
	if got := p.bash(); !strings.HasSuffix(got, "complete -F _holdfast_recorder holdfast-recorder\n") {
		t.Error(got)
	}
	if _, err := ask(func(...string) (string, error) { return "Usage: other COMMAND\n", nil }); err == nil {
		t.Error("a program that is not known has a manual")
	}
}

// TestBashCompletes runs bash.
func TestBashCompletes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "holdfast.bash")
	if err := os.WriteFile(file, []byte(asked(t).bash()), 0o600); err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{
		"holdfast q": "queue", "holdfast queue p": "purge", "holdfast queue -": "-c -n -v",
		"holdfast queue -n x": "", "holdfast run -c /etc/hostn": "/etc/hostname",
	} {
		script := fmt.Sprintf("source %s; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _holdfast; echo "+
			"\"${COMPREPLY[*]}\"",
			file, typed)
		out, err := exec.Command("bash", "-c", script).CombinedOutput()
		if got := strings.TrimSpace(string(out)); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", typed, got, err, want)
		}
	}
}
