package child

import (
	"os/exec"
	"testing"
	"time"
)

func TestKillWaitsForTheEnd(t *testing.T) {
	p, err := Start(exec.Command("sleep", "60"))
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	p.Kill() // a second call is allowed
	if p.Err() == nil {
		t.Error("killed, and yet it ended well")
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	if _, err := Start(exec.Command("holdfast-rig-no-such-program")); err == nil {
		t.Error("no error")
	}
}

func TestStopSendsSIGTERMAndThenKills(t *testing.T) {
	for script, polite := range map[string]bool{
		"sleep 60": true,
		"trap '' TERM; echo; while :; do sleep 0.1; done": false,
	} {
		cmd := exec.Command("sh", "-c", script)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p, err := Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		grace := time.Minute
		if !polite {
			out.Read(make([]byte, 1)) // the trap is set
			grace = 50 * time.Millisecond
		}
		if got := p.Stop(grace); got != polite {
			t.Errorf("%q: ended by itself: %v, want %v", script, got, polite)
		}
	}
}
