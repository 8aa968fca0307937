package config

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/sensors/arming"
	"github.com/holdfast-iot/holdfast/sensors/rules"
)

// reactionsBase has the streams and outputs that the rules and arming of these tests use.
const reactionsBase = `client_id: c
mqtt: {server: mqtt://b}
sensors:
  door: {kind: contact, gpio: GPIO17, class: door}
  aux: {kind: contact, gpio: GPIO27}
  cellar: {kind: simulated, steps: {states: [dry, wet], every: 1s}}
  kitchen: {kind: simulated, steps: {states: [dry, wet], every: 1s}}
  temp: {kind: simulated, counter: {}, every: 1s, alarm: {above: 30}}
  level: {kind: simulated, counter: {}, every: 1s}
`

const reactionsOutputs = `outputs:
  siren: {kind: simulated, class: siren, max_on: 3m}
  pump: {kind: simulated, max_on: never}
  valve: {kind: simulated, max_on: 1h, safe: on}
  fan: {kind: simulated, max_on: 1h, confirm: {stream: aux, is: closed}}
`

// TestReactionErrorsHaveTheirPosition reads testdata/reactions.txt, in the format of
// mistakes.txt: at least 30 stanzas with one error each, of which at least 20 have a remedy
// in their message.
func TestReactionErrorsHaveTheirPosition(t *testing.T) {
	data, err := os.ReadFile("testdata/reactions.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split("\n"+string(data), "\n=== ")[1:]
	helpful := 0
	for _, c := range cases {
		head, text, _ := strings.Cut(c, "\n")
		base := reactionsBase
		if !strings.HasPrefix(text, "outputs:") {
			base += reactionsOutputs
		}
		text = base + text + "\n"
		at := strings.Index(text, "▸")
		text = strings.Replace(text, "▸", "", 1)
		oneMistake(t, text, at, strings.Split(head, " / "))
		_, err := Parse("f", []byte(text))
		for _, word := range []string{"did you mean", "such as", "write", "known are", "make one", "needs", "must be"} {
			if err != nil && strings.Contains(err.Error(), word) {
				helpful++
				break
			}
		}
	}
	t.Logf("%d stanzas, %d with a suggestion", len(cases), helpful)
	if len(cases) < 30 || helpful < 20 {
		t.Errorf("%d stanzas, %d with a suggestion; want 30 and 20", len(cases), helpful)
	}
}

// TestRulesAndArmingAreParsed has every key once.
func TestRulesAndArmingAreParsed(t *testing.T) {
	cfg, err := Parse("f", []byte(reactionsBase+reactionsOutputs+`
rules:
  intruder: {when: {door: open}, for: 0s, armed: [away, home], then: {siren: 3m}}
  flood: {any: [{cellar: wet}, {kitchen: wet}], for: 5s, fault: trips, then: {pump: 10m, valve: off}}
  both: {all: [{cellar: wet}, {temp_alarm: alarm}], then: {pump: on}}
  tamper: {when: {aux: open}, armed: always, then: {siren: 1m}}
  beep: {when: {alarm: pending}, then: {pump: 30s}}
arming: {modes: [home, away], exit: 20s, entry: {door: 30s}, follow: [door], ready: [kitchen], siren: 2m, rearm: false,
  key: aux, codes_file: /etc/holdfast/codes, code_to_arm: true, commands: true}
home_assistant: {discovery: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	siren := []rules.Action{{Output: "siren", On: true, For: 3 * time.Minute}}
	want := []rules.Rule{
		{Name: "intruder", Any: conditions("door", "open"), Armed: []string{"away", "home"}, Then: siren},
		{Name: "flood", Any: conditions("cellar", "wet", "kitchen", "wet"), For: 5 * time.Second,
			FaultTrips: true, Then: []rules.Action{{Output: "pump", On: true, For: 10 * time.Minute},
				{Output: "valve", Safe: true}}},
		{Name: "both", All: conditions("cellar", "wet", "temp_alarm", "alarm"),
			Then: []rules.Action{{Output: "pump", On: true}}},
		{Name: "tamper", Any: conditions("aux", "open"), Armed: []string{rules.Always},
			Then: []rules.Action{{Output: "siren", On: true, For: time.Minute}}},
		{Name: "beep", Any: conditions("alarm", "pending"),
			Then: []rules.Action{{Output: "pump", On: true, For: 30 * time.Second}}},
	}
	if !reflect.DeepEqual(cfg.Rules, want) {
		t.Errorf("got  %+v\nwant %+v", cfg.Rules, want)
	}
	panel := &arming.Options{Modes: []string{"home", "away"}, Exit: 20 * time.Second,
		Entry: map[string]time.Duration{"door": 30 * time.Second}, Follow: []string{"door"}, Ready: []string{"kitchen"},
		Zones: []string{"door", "kitchen"}, Siren: 2 * time.Minute, Key: "aux", CodesFile: "/etc/holdfast/codes",
		CodeToArm: true, Commands: true}
	if !reflect.DeepEqual(cfg.Arming, panel) {
		t.Errorf("got  %+v\nwant %+v", cfg.Arming, panel)
	}
	last := cfg.Uplink.Streams[len(cfg.Uplink.Streams)-1]
	if last.Name != "alarm" || !slices.Equal(last.States, arming.States) || !cfg.Uplink.Commands.Alarm {
		t.Errorf("stream %+v, commands %v", last, cfg.Uplink.Commands.Alarm)
	}
	if a := cfg.Uplink.HomeAssistant.Alarm; a == nil || a.Command != "c/alarm/set" || !a.Code || !a.CodeToArm {
		t.Errorf("Home Assistant is told %+v", a)
	}
}

// conditions are alternately streams and states.
func conditions(words ...string) (all []rules.Condition) {
	for pair := range slices.Chunk(words, 2) {
		all = append(all, rules.Condition{Stream: pair[0], Is: pair[1]})
	}
	return all
}

// TestAnArmingBlockHasDefaults: all keys may be left out.
func TestAnArmingBlockHasDefaults(t *testing.T) {
	cfg, err := Parse("f", []byte(reactionsBase+"arming: {exit: 30s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &arming.Options{Modes: []string{"away", "home"}, Exit: 30 * time.Second, Siren: 3 * time.Minute, Rearm: true}
	if !reflect.DeepEqual(cfg.Arming, want) {
		t.Errorf("got  %+v\nwant %+v", cfg.Arming, want)
	}
	if cfg, err := Parse("f", []byte(reactionsBase)); err != nil || cfg.Arming != nil || cfg.Rules != nil {
		t.Errorf("without a block: %+v, %+v, %v", cfg.Arming, cfg.Rules, err)
	}
}

// TestPanelWithoutACodeIsAWarning if orders can disarm it.
func TestPanelWithoutACodeIsAWarning(t *testing.T) {
	for block, want := range map[string]int{
		"arming: {commands: true}\n":                                  1,
		"arming: {commands: true}\ncommands: {key_file: /etc/k}\n":    0,
		"arming: {commands: true, codes_file: /etc/holdfast/codes}\n": 0,
		"arming: {codes_file: /etc/holdfast/codes}\n":                 0,
		"arming: {exit: 30s}\n":                                       0,
	} {
		cfg, err := Parse("f", []byte(reactionsBase+block))
		if err != nil || len(cfg.Warnings) != want {
			t.Errorf("%s: %v, %v", block, cfg.Warnings, err)
		}
	}
}

// TestNameOfThePanelsStreamIsReserved if there is a panel.
func TestNameOfThePanelsStreamIsReserved(t *testing.T) {
	text := strings.Replace(reactionsBase, "level:", "alarm:", 1)
	if _, err := Parse("f", []byte(text)); err != nil {
		t.Error(err)
	}
	_, err := Parse("f", []byte(text+"arming: {exit: 30s}\n"))
	if err == nil ||
		!strings.Contains(err.Error(), `makes the stream "alarm", which sensors.alarm makes already (line 9)`) {
		t.Errorf("got %v", err)
	}
}
