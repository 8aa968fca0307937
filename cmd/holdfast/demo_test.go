package main

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestDemoLosesNothing runs the demo as a new user would.
func TestDemoLosesNothing(t *testing.T) {
	takesLong(t)
	t.Parallel()
	cmd := exec.Command(os.Args[0], "demo", "-for", "30s")
	cmd.Env = append(os.Environ(), agentEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	for _, want := range []string{
		`(?m)^ +\d+\.\ds  house/door +(open|closed)$`,
		`(?m)^ +\d+\.\ds  house/humidity +\d+\.\d\d %$`,
		`the status page is http://127\.0\.0\.1:\d+/`,
		`the network is pulled`,
		`the siren sounds, by rule:intruder, \d+\.\d ms after the door opened, without a network`,
		`the siren is off again`,
		`(?m)^ +\d+\.\ds  house/siren +on +1\d\.\d s old, historical$`,
		`backlog [12]\d `,
		`the network is back`,
		`old, historical`,
		`backlog 0: everything has arrived`,
		`(?m)^sent (\d+), received \d+, lost 0( |$)`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the demo does not print %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
