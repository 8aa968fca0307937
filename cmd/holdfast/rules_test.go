package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// changesOf are the readings of a stream that arrived, as "state by". One may arrive twice.
func (w *wired) changesOf(stream string) (all []string) {
	seen := map[key]bool{}
	for _, a := range w.sub.on("store/" + stream) {
		if seen[a.key()] {
			continue
		}
		seen[a.key()] = true
		_, by, _ := strings.Cut(a.raw, `"by":"`)
		by, _, _ = strings.Cut(by, `"`)
		all = append(all, strings.TrimSpace(a.State+" "+by))
	}
	return all
}

// askPanel sends an order until it gets an answer: an order within two seconds of a
// connection is refused as unsure.
func (w *wired) askPanel(t *testing.T, payload, want string) {
	t.Helper()
	var last time.Time
	before, n := len(w.sub.orderAnswers()), 0
	eventually(t, 2*time.Minute, payload+" is "+want, func() bool {
		if time.Since(last) > 3*time.Second {
			last = time.Now()
			n++
			w.sub.order(t, "store/alarm/set", fmt.Sprintf(`{%s,"id":"a%d-%d"}`, payload, before, n), false)
		}
		return strings.Contains(strings.Join(w.sub.orderAnswers()[before:], "\n")+"\n", " "+want+"\n")
	})
}

// codesOf creates a codes file with the code of one person.
func codesOf(t *testing.T, name, code string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "codes")
	line, err := arming.NewLine(name, code)
	if err == nil {
		err = os.WriteFile(path, []byte(line+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// triggerOffline pulls the cable until the panel is triggered and its alarm is on the
// disk, kills the agent and starts it again with the cable plugged in.
func (w *wired) triggerOffline(t *testing.T) {
	t.Helper()
	w.cable.Pull()
	state := filepath.Join(w.agent.dir, arming.FileName)
	eventually(t, time.Minute, "it is triggered, in the dark", func() bool {
		text, err := os.ReadFile(state)
		return err == nil && strings.Contains(string(text), `"state":"triggered"`)
	})
	eventually(t, time.Minute, "the alarm is on the disk", func() bool {
		text, err := w.agent.exported()
		return err == nil && strings.Contains(text, `"state":"triggered"`)
	})
	w.agent.kill()
	w.cable.Plug()
	w.agent.start()
	eventually(t, reconnectLimit, "it is triggered after a kill", func() bool {
		return w.sub.last("store/alarm/state").State == arming.Triggered
	})
	eventually(t, reconnectLimit, "the siren sounds after a kill", func() bool {
		return w.sub.last("store/siren/state").State == "on"
	})
}

// TestAlarmDuringAnOutage has a real broker. An order arms the panel, the cable is cut, and
// what happens then arrives later. After a kill the panel is still triggered, the siren is
// on again, and only the right code ends it.
func TestAlarmDuringAnOutage(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 0, `
  door: {kind: simulated, steps: {states: [closed, open], every: 3s}}
outputs:
  siren: {kind: simulated, class: siren, max_on: 10m}
rules:
  intruder: {when: {door: open}, armed: [away], then: {siren: 5m}}
arming: {exit: 1s, entry: {door: 1s}, siren: 10m, commands: true, codes_file: `+codesOf(t, "anna", "471100")+`}
clock: {trust: always}
`)
	w.agent.retrySoon()
	w.agent.start()
	eventually(t, time.Minute, "the panel says what it is", func() bool {
		return w.sub.last("store/alarm/state").State == arming.Disarmed
	})
	w.askPanel(t, `"state":"ARM_AWAY"`, "done")
	w.triggerOffline(t)
	w.askPanel(t, `"state":"DISARM"`, "refused code")
	w.askPanel(t, `"state":"DISARM","code":"471199"`, "refused code")
	w.askPanel(t, `"state":"DISARM","code":"471100"`, "done")
	eventually(t, time.Minute, "the siren is off", func() bool { return w.sub.last("store/siren/state").State == "off" })
	eventually(t, reconnectLimit, "the history arrives", func() bool {
		return strings.Contains(strings.Join(w.changesOf("alarm"), ", "), "disarmed code:anna")
	})
	w.agent.stop()
	for stream, want := range map[string][2]string{
		"alarm": {"armed_away exit, pending rule:intruder, triggered rule:intruder, triggered start", "disarmed code:anna"},
		"siren": {"on rule:intruder, off start, on rule:intruder", "off arming"},
	} {
		got := strings.Join(w.changesOf(stream), ", ")
		if !strings.Contains(got, want[0]) || !strings.HasSuffix(got, want[1]) {
			t.Errorf("%s said %s; want %s, and at last %s", stream, got, want[0], want[1])
		}
	}
	if log := w.agent.log.String(); strings.Contains(log, "4711") {
		t.Error("the log has a code")
	}
}

// TestRulesExamplesInTheDocsWork runs the commands of shell blocks in the pages, with the
// configuration of the page and the files that the block prints.
func TestRulesExamplesInTheDocsWork(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"rules.md", "alarm.md"} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		dir, config, ran := t.TempDir(), "client_id: porch\nmqtt: {server: mqtt://127.0.0.1}\n", 0
		for i, block := range strings.Split(string(text), "\n```") {
			kind, body, _ := strings.Cut(block, "\n")
			switch {
			case i%2 == 1 && kind == "yaml":
				config += body + "\n"
			case i%2 == 1 && strings.HasPrefix(body, "$ cat "):
				ran += runExample(t, dir, config, body)
			}
		}
		if ran == 0 {
			t.Errorf("%s has no example", page)
		}
	}
}

// runExample runs the commands of one block, and returns their number.
func runExample(t *testing.T, dir, config, block string) (ran int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split("\n"+block, "\n$ ")[1:] {
		line, want, _ := strings.Cut(part, "\n")
		args := strings.Fields(line)
		if args[0] == "cat" {
			if err := os.WriteFile(filepath.Join(dir, args[1]), []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		ran++
		cmd := exec.Command(os.Args[0], append([]string{"rules", "test", "-c", "config.yaml"}, args[3:]...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), agentEnv+"=1", "TZ=UTC")
		got, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", line, err, got, want)
		}
	}
	return ran
}

// TestReloadKeepsThePanel: the new link publishes the state, which is not read from the
// file again, and a new rule knows the states of its streams.
func TestReloadKeepsThePanel(t *testing.T) {
	t.Parallel()
	w := wire(t, startMosquitto(t, persistent), 0, `
  meter: {kind: simulated, counter: {}, every: 1h}
  cellar: {kind: simulated, steps: {states: [wet, dry], every: 1h}}
outputs:
  bell: {kind: simulated, max_on: 10m}
arming: {exit: 0s, commands: true}
clock: {trust: always}
`)
	w.agent.start()
	w.askPanel(t, `"state":"ARM_HOME"`, "done")
	eventually(t, time.Minute, "it is armed", func() bool { return w.sub.last("store/alarm/state").State == "armed_home" })
	count := w.sub.count("store/alarm/state")
	w.agent.reload(func(text string) string {
		return strings.Replace(text, "mqtt: {", "mqtt: {keepalive: 20s, ", 1) +
			"rules: {flood: {when: {cellar: wet}, armed: [home], then: {bell: 5m}}}\n"
	})
	eventually(t, reconnectLimit, "the new link publishes the state", func() bool {
		return w.sub.count("store/alarm/state") > count
	})
	eventually(t, reconnectLimit, "the new rule knows its stream", func() bool {
		return w.sub.last("store/bell/state").State == "on"
	})
	w.agent.stop()
	got := strings.Join(w.changesOf("alarm"), ", ")
	if strings.Count(got, "armed_home") != 1 || strings.Count(got, "start") != 1 || !strings.HasSuffix(got, "rule:flood") {
		t.Errorf("the panel said %s", got)
	}
}
