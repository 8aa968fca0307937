package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/child"
)

// An agent is a process of the real program.
type agent struct {
	t              *testing.T
	dir            string
	env            []string // in addition to that of the test
	cmd            *exec.Cmd
	log            child.Log
	errs           *os.File // standard error, instead of log; nil: log
	done           bool
	expectProblems bool // the checks at the start are expected to find a problem
}

// problemLogged is the log message of each finding of the checks at the start.
const problemLogged = "something is wrong with this machine"

// newAgent prepares an agent whose configuration is text, with %DIR% for its own folder.
func newAgent(t *testing.T, text string) *agent {
	t.Helper()
	a := &agent{t: t, dir: t.TempDir()}
	a.configure(text)
	t.Cleanup(func() {
		if a.cmd != nil && !a.done {
			a.kill()
		}
		if log := a.log.String(); strings.Contains(log, problemLogged) && !a.expectProblems {
			t.Error("the checks at the start find a problem that the test did not make")
		}
		if t.Failed() {
			t.Logf("the agent's log:\n%s", a.log.String())
		}
	})
	return a
}

// retrySoon limits the time between two attempts to connect to 4 s. The back-off of up to a
// minute is tested in package uplink; a test that cuts the link ten times would wait for
// minutes.
func (a *agent) retrySoon() { a.env = append(a.env, retryEnv+"=4s") }

func (a *agent) configPath() string { return filepath.Join(a.dir, "config.yaml") }

func (a *agent) configure(text string) {
	a.t.Helper()
	text = withVersion(strings.ReplaceAll(text, "%DIR%", a.dir))
	if err := os.WriteFile(a.configPath(), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// testVersion is the mqtt.version of the agents in these tests; empty: the default, which
// is 5 with the brokers of the tests. build/prove also runs the tests of the link with
// 3.1.1.
var testVersion = os.Getenv("HOLDFAST_TEST_MQTT")

// by5 means that the agents connect with MQTT 5.
var by5 = testVersion != "3.1.1"

// withVersion adds that version to a configuration, unless it has its own.
func withVersion(text string) string {
	if testVersion == "" || strings.Contains(text, "version:") {
		return text
	}
	text = strings.Replace(text, "mqtt: {", "mqtt: {version: "+testVersion+", ", 1)
	return strings.Replace(text, "mqtt:\n", "mqtt:\n  version: "+testVersion+"\n", 1)
}

func (a *agent) start() {
	a.t.Helper()
	a.cmd = exec.Command(os.Args[0], "run", "-c", a.configPath())
	a.cmd.Env = append(append(os.Environ(), a.env...), agentEnv+"=1")
	a.cmd.Stderr = &a.log
	if a.errs != nil {
		a.cmd.Stderr = a.errs
	}
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	a.done = false
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
}

// stop sends SIGTERM, and requires a clean exit; kill sends SIGKILL.
func (a *agent) stop() {
	a.t.Helper()
	a.cmd.Process.Signal(syscall.SIGTERM)
	end := time.AfterFunc(10*time.Second, func() { a.cmd.Process.Kill() })
	defer end.Stop()
	a.done = true
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("the agent ended with %v", err)
	}
}

func (a *agent) kill() {
	a.cmd.Process.Kill()
	a.done = true
	a.cmd.Wait()
}

// written is the number of bytes that the process has caused to be written to disks.
func (a *agent) written() (bytes int64) {
	a.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", a.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &bytes); err == nil {
			return bytes
		}
	}
	a.t.Fatalf("no write_bytes in %s", text)
	return 0
}
