package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/config"
)

// bellHouse has an output with a program that records its orders, and a rule that switches
// it. The program never outlives the agent: the kernel kills it with SIGKILL.
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

// bell is the list of orders to the program so far, in one line.
func (a *agent) bell() string {
	text, _ := os.ReadFile(filepath.Join(a.dir, "bell"))
	return strings.Join(strings.Fields(string(text)), " ")
}

// expectBell waits until the orders are exactly these.
func (a *agent) expectBell(want string) {
	a.t.Helper()
	for end := time.Now().Add(time.Minute); a.bell() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			a.t.Fatalf("the bell was told %q, want %q", a.bell(), want)
		}
	}
}

// A reload that does not concern the output does not affect it, and one that does sets it
// to its safe level. SIGTERM sets it to its safe level.
func TestOutputDuringReloadsAndSIGTERM(t *testing.T) {
	t.Parallel()
	a := newAgent(t, bellHouse)
	a.start()
	a.expectBell("off on")
	a.reload(func(text string) string { return strings.Replace(text, "every: 200ms", "every: 150ms", 1) })
	a.reload(func(text string) string { return strings.Replace(text, "then: {bell: 5m}", "then: {bell: 4m}", 1) })
	a.reload(func(text string) string { return text + "  lamp: {kind: simulated, max_on: 1m}\n" })
	if got := a.bell(); got != "off on" {
		t.Errorf("reloads that do not concern it told it %q", got)
	}
	a.reload(func(text string) string { return strings.Replace(text, "max_on: 10m", "max_on: 9m", 1) })
	a.expectBell("off on off off on") // from the old program, the new one, and the rule
	a.stop()
	if got := a.bell(); got != "off on off off on off" {
		t.Errorf("after SIGTERM it was told %q", got)
	}
}

// After SIGKILL, the command that the systemd unit runs sets the output to its safe level.
func TestOutputIsMadeSafeAfterSIGKILL(t *testing.T) {
	t.Parallel()
	a := newAgent(t, bellHouse)
	a.start()
	a.expectBell("off on")
	a.kill()
	files, _ := os.ReadDir(a.dir)
	safe := exec.Command(os.Args[0], "outputs", "safe", "-c", a.configPath())
	safe.Env = append(os.Environ(), agentEnv+"=1")
	if out, err := safe.CombinedOutput(); err != nil || !strings.Contains(string(out), "1 output made safe") {
		t.Errorf("%v: %s", err, out)
	}
	a.expectBell("off on off")
	if after, _ := os.ReadDir(a.dir); len(after) != len(files) {
		t.Errorf("there were %d files, and are %d", len(files), len(after))
	}
}

// After SIGKILL the output is set to its safe level even if the file was edited meanwhile:
// it is invalid, or has no such output.
func TestOutputRemovedFromTheFileIsMadeSafe(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(string) string{
		"wrong":      func(text string) string { return text + "\tx" },
		"no bell":    func(text string) string { return text[:strings.Index(text, "rules:")] },
		"a mistake":  func(text string) string { return strings.Replace(text, "max_on", "maximum", 1) },
		"a new name": func(text string) string { return strings.ReplaceAll(text, "bell:", "ring:") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, bellHouse)
			a.start()
			a.expectBell("off on")
			a.kill()
			text, err := os.ReadFile(a.configPath())
			if err != nil {
				t.Fatal(err)
			}
			a.configure(edit(string(text)))
			safe := exec.Command(os.Args[0], "outputs", "safe", "-c", a.configPath())
			safe.Env = append(os.Environ(), agentEnv+"=1", "STATE_DIRECTORY="+a.dir)
			if out, err := safe.CombinedOutput(); err != nil || !strings.Contains(string(out), "made safe") {
				t.Errorf("%v: %s", err, out)
			}
			want := "off on off"
			if name == "a new name" {
				want += " off" // from the configuration that ran, and from the present file
			}
			a.expectBell(want)
		})
	}
}

// writeCopy writes the copy of a file with one output. It returns the configuration, and
// the path of the file.
func writeCopy(t *testing.T) (cfg config.Config, path string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", dir)
	path = filepath.Join(dir, "config.yaml")
	text := strings.ReplaceAll(bellHouse, "%DIR%", dir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeRunning(cfg); err != nil {
		t.Fatal(err)
	}
	return cfg, path
}

// TestCopyOfAnotherUserIsNotUsed: a configuration names commands, and root must not run
// those of another user.
func TestCopyOfAnotherUserIsNotUsed(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("gives a file to another user, which only root may")
	}
	_, path := writeCopy(t)
	const nobody = 65534
	if err := os.Chown(filepath.Join(filepath.Dir(path), runningName), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if n := len(loadRunning(config.Config{}, path).Outputs); n != 0 {
		t.Errorf("%d outputs of a file of another user", n)
	}
}

// TestCopyOfAnotherFileIsNotUsed, nor one that is writable for all.
func TestCopyOfAnotherFileIsNotUsed(t *testing.T) {
	cfg, path := writeCopy(t)
	dir := filepath.Dir(path)
	if n := len(loadRunning(config.Config{}, path).Outputs); n != 1 {
		t.Errorf("%d outputs ran last", n)
	}
	if n := len(loadRunning(config.Config{}, filepath.Join(dir, "other.yaml")).Outputs); n != 0 {
		t.Errorf("%d outputs of another file", n)
	}
	if err := os.Chmod(filepath.Join(dir, runningName), 0o666); err != nil {
		t.Fatal(err)
	}
	if n := len(loadRunning(config.Config{}, path).Outputs); n != 0 {
		t.Errorf("%d outputs of a file that all may write", n)
	}
	cfg.Outputs = nil
	if err := writeRunning(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, runningName)); !os.IsNotExist(err) {
		t.Errorf("without outputs the copy stays: %v", err)
	}
}
