package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// said are the readings of a stream that arrived, as "state by".
func (w *wired) said(stream string) (all []string) {
	for _, a := range w.sub.on("store/" + stream) {
		_, by, _ := strings.Cut(a.raw, `"by":"`)
		by, _, _ = strings.Cut(by, `"`)
		all = append(all, strings.TrimSpace(a.State+" "+by))
	}
	return all
}

// askPanel sends an order until it gets an answer: one that comes within two seconds of a
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

// TestAnAlarmInTheDark has a house with a real broker: it is armed by an order, the cable
// is cut, and what happens then arrives later. A kill leaves it triggered, the siren sounds
// again, and only the right code ends it.
func TestAnAlarmInTheDark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	codes := filepath.Join(dir, "codes")
	line, err := arming.NewLine("anna", "471100")
	if err == nil {
		err = os.WriteFile(codes, []byte(line+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := wire(t, startMosquitto(t, persistent), 0, `
  door: {kind: simulated, steps: {states: [closed, open], every: 3s}}
outputs:
  siren: {kind: simulated, class: siren, max_on: 10m}
rules:
  intruder: {when: {door: open}, armed: [away], then: {siren: 5m}}
arming: {exit: 1s, entry: {door: 1s}, siren: 10m, commands: true, codes_file: `+codes+`}
clock: {trust: always}
`)
	w.agent.impatient()
	w.agent.start()
	eventually(t, time.Minute, "the panel says what it is", func() bool {
		return w.sub.last("store/alarm/state").State == arming.Disarmed
	})
	w.askPanel(t, `"state":"ARM_AWAY"`, "done")
	w.cable.Pull()
	state := filepath.Join(w.agent.dir, arming.FileName)
	eventually(t, time.Minute, "it is triggered, in the dark", func() bool {
		text, err := os.ReadFile(state)
		return err == nil && strings.Contains(string(text), `"state":"triggered"`)
	})
	w.agent.kill()
	w.cable.Plug()
	w.agent.start()
	eventually(t, comesBack, "it is triggered after a kill", func() bool {
		return w.sub.last("store/alarm/state").State == arming.Triggered
	})
	eventually(t, comesBack, "the siren sounds after a kill", func() bool {
		return w.sub.last("store/siren/state").State == "on"
	})
	w.askPanel(t, `"state":"DISARM"`, "refused code")
	w.askPanel(t, `"state":"DISARM","code":"471199"`, "refused code")
	w.askPanel(t, `"state":"DISARM","code":"471100"`, "done")
	eventually(t, time.Minute, "the siren is off", func() bool { return w.sub.last("store/siren/state").State == "off" })
	eventually(t, comesBack, "the history arrives", func() bool {
		return strings.Contains(strings.Join(w.said("alarm"), ", "), "disarmed code:anna")
	})
	w.agent.stop()
	for stream, want := range map[string][2]string{
		"alarm": {"armed_away exit, pending rule:intruder, triggered rule:intruder, triggered start", "disarmed code:anna"},
		"siren": {"on rule:intruder, off start, on rule:intruder", "off arming"},
	} {
		if got := strings.Join(w.said(stream), ", "); !strings.Contains(got, want[0]) || !strings.HasSuffix(got, want[1]) {
			t.Errorf("%s said %s; want %s, and at last %s", stream, got, want[0], want[1])
		}
	}
	if log := w.agent.log.String(); strings.Contains(log, "4711") {
		t.Error("the log has a code")
	}
}
