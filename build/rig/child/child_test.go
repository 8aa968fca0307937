package child

import (
	"os/exec"
	"testing"
)

func TestKillWaitsForTheEnd(t *testing.T) {
	p, err := Start(exec.Command("sleep", "60"))
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	p.Kill() // again is allowed
	if p.Err() == nil {
		t.Error("killed, and yet it ended well")
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	if _, err := Start(exec.Command("holdfast-rig-no-such-program")); err == nil {
		t.Error("no error")
	}
}
