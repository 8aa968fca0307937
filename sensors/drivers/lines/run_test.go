package lines

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// runs is a sensor that runs a script for each measurement.
func runs(script string, quantities ...sensors.Quantity) *runner {
	if quantities == nil {
		quantities = level
	}
	return &runner{[]string{"/bin/sh", "-c", script}, quantities, time.Minute}
}

func TestEachRunIsAMeasurement(t *testing.T) {
	t.Chdir(t.TempDir())
	s := runs(`echo x >>count; wc -l <count`)
	hears(t, s, "level 1", "level 2", "level 3")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestRunReturnsTheNewestValueOfEachQuantity(t *testing.T) {
	both := []sensors.Quantity{{Name: "level"}, {Name: "flow"}}
	for script, want := range map[string]string{
		`printf '1\n2\n3'`: "level 3",
		`echo; echo 4.5 `:  "level 4.5",
		`echo x`:           `level: "x" is not a number`,
		`head -c 5000 /dev/zero | tr '\0' 7; echo; echo 8`: "level 8",
		`head -c 5000 /dev/zero | tr '\0' 7`:               "level: a line of more than 4096 bytes was skipped",
	} {
		if got := said(t, runs(script)); got != want {
			t.Errorf("%s: %s, want %s", script, got, want)
		}
	}
	got := said(t, runs(`echo '{"level": 1, "flow": 2}'; echo '{"flow": 3}'`, both...))
	if got != "level 1, flow 3" {
		t.Error(got)
	}
}

// What a run wrote does not count if it failed: a script that goes on after an error writes
// an old value, or half a number.
func TestFailedRunIsAnErrorDespiteItsOutput(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		`echo 1; echo no such device >&2; exit 1`: "sh ended with status 1: no such device",
		`echo 1; kill -KILL $$`:                   "sh was ended by signal: killed",
		`exit 0`:                                  "sh wrote no line",
		`echo; echo why >&2`:                      "sh wrote no line: why",
		`yes noise | head -c 300000 >&2; exit 4`:  "sh ended with status 4: noise",
	} {
		if got := said(t, runs(script)); got != want {
			t.Errorf("%s: %s, want %s", script, got, want)
		}
	}
	s := &runner{[]string{"/nowhere/level"}, level, time.Minute}
	if _, err := s.Next(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/nowhere") {
		t.Error(err)
	}
}

// Nothing is left of a run when Next returns: not what it put into the background, with the
// output open or closed, and no zombie.
func TestRunLeavesNoProcesses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, want string }{
		"holds the output":   {`sleep 60 & echo $! $$ >pids; echo 1`, "level 1"},
		"closed the output":  {`sleep 60 >/dev/null 2>&1 & echo $! $$ >pids; echo 1`, "level 1"},
		"ignores the signal": {`trap '' TERM; sleep 60 & echo $! $$ >pids; echo 1; sleep 60`, "took longer than"},
		"closes and goes on": {`echo $$ $$ >pids; echo 1; exec sleep 60 >/dev/null`, "took longer than"},
		"writes without end": {`echo $$ $$ >pids; exec yes 1`, "took longer than"},
		"says why": {`echo $$ $$ >pids; echo slow bus >&2; exec sleep 60`,
			"took longer than 4s and was ended: slow bus"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := runs("cd " + dir + "; " + c.script)
			if strings.Contains(c.want, "longer") {
				s.limit = 4 * time.Second
			}
			hears(t, s, c.want)
			text, err := os.ReadFile(filepath.Join(dir, "pids"))
			if err != nil {
				t.Fatal(err)
			}
			for i, word := range strings.Fields(string(text)) {
				pid, err := strconv.Atoi(word)
				if err != nil {
					t.Fatal(err)
				}
				awaitGone(t, pid)
				// What the program started is for init to wait for; the program is for us.
				if err := syscall.Kill(pid, 0); i == 1 && err != syscall.ESRCH {
					t.Errorf("the program is a zombie: %v", err)
				}
			}
		})
	}
}

// awaitGone waits until a process that was sent SIGKILL has ended.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !gone(pid); {
		if time.Now().After(end) {
			t.Fatalf("%d goes on", pid)
		}
		if err := exec.Command("/bin/true").Run(); err != nil { // takes as long as one poll
			t.Fatal(err)
		}
	}
}

func TestContextEndsARun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if samples, err := runs(`echo 1; exec sleep 60`).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(samples, err)
	}
}
