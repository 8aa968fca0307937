package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bellHouse has a bell whose program notes what it is told, and a rule that rings it. The
// program outlives no agent: the kernel ends it with SIGKILL.
const bellHouse = `client_id: store
mqtt: {server: "mqtt://127.0.0.1:1"}
queue: {path: %DIR%/queue.db}
sensors:
  door: {kind: simulated, steps: {states: [closed, open], every: 200ms}}
rules:
  visitor: {when: {door: open}, then: {bell: 5m}}
outputs:
  bell: {max_on: 10m, command: [/bin/sh, -c, "while read x; do echo $x >>%DIR%/bell; done"]}
`

// bell is what the program was told so far, in one line.
func (a *agent) bell() string {
	text, _ := os.ReadFile(filepath.Join(a.dir, "bell"))
	return strings.Join(strings.Fields(string(text)), " ")
}

// bellSays waits until the bell was told exactly this.
func (a *agent) bellSays(want string) {
	a.t.Helper()
	for end := time.Now().Add(time.Minute); a.bell() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			a.t.Fatalf("the bell was told %q, want %q", a.bell(), want)
		}
	}
}

// A reload that does not concern the bell leaves it alone, and one that does makes it safe.
// SIGTERM makes it safe.
func TestABellThroughReloadsAndSIGTERM(t *testing.T) {
	t.Parallel()
	a := newAgent(t, bellHouse)
	a.start()
	a.bellSays("off on")
	a.reload(func(text string) string { return strings.Replace(text, "every: 200ms", "every: 150ms", 1) })
	a.reload(func(text string) string { return strings.Replace(text, "then: {bell: 5m}", "then: {bell: 4m}", 1) })
	a.reload(func(text string) string { return text + "  lamp: {kind: simulated, max_on: 1m}\n" })
	if got := a.bell(); got != "off on" {
		t.Errorf("reloads that do not concern it told it %q", got)
	}
	a.reload(func(text string) string { return strings.Replace(text, "max_on: 10m", "max_on: 9m", 1) })
	a.bellSays("off on off off on") // by the old program, by the new one, and by the rule
	a.stop()
	if got := a.bell(); got != "off on off off on off" {
		t.Errorf("after SIGTERM it was told %q", got)
	}
}

// After SIGKILL it is what the unit runs, that makes the bell safe.
func TestABellIsMadeSafeAfterSIGKILL(t *testing.T) {
	t.Parallel()
	a := newAgent(t, bellHouse)
	a.start()
	a.bellSays("off on")
	a.kill()
	files, _ := os.ReadDir(a.dir)
	safe := exec.Command(os.Args[0], "outputs", "safe", "-c", a.configPath())
	safe.Env = append(os.Environ(), agentEnv+"=1")
	if out, err := safe.CombinedOutput(); err != nil || !strings.Contains(string(out), "1 output made safe") {
		t.Errorf("%v: %s", err, out)
	}
	a.bellSays("off on off")
	if after, _ := os.ReadDir(a.dir); len(after) != len(files) {
		t.Errorf("there were %d files, and are %d", len(files), len(after))
	}
}
