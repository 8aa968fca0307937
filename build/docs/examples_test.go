package main

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/config"
	"go.yaml.in/yaml/v3"
)

// block is one fenced block of a page.
type block struct {
	line     int // of its first line, from 1
	language string
	text     string
}

func blocksOf(page string) (all []block) {
	inside := false
	for i, line := range strings.Split(page, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !inside:
			all, inside = append(all, block{line: i + 2, language: fence}), true
		case isFence:
			inside = false
		case inside:
			all[len(all)-1].text += line + "\n"
		}
	}
	return all
}

// TestExamplesInThePagesAreValid loads each configuration of a page like a user who copies
// it. A part of a file gets the keys that each file needs. The YAML of other programs only
// has to be valid YAML.
func TestExamplesInThePagesAreValid(t *testing.T) {
	taken := 0
	for page, text := range checkedPages(t) {
		for _, b := range blocksOf(text) {
			if b.language != "yaml" {
				continue
			}
			place := fmt.Sprintf("%s:%d", filepath.Base(page), b.line)
			var keys map[string]yaml.Node
			if err := yaml.Unmarshal([]byte(b.text), &keys); err != nil {
				t.Errorf("%s: %v", place, err)
			} else if ours(keys) {
				taken++
				load(t, place, b.text, keys)
			}
		}
	}
	if taken < 25 {
		t.Errorf("%d configurations in the pages: they are not found", taken)
	}
}

// ours reports whether a block is a configuration of the agent: it has only the agent's
// keys, and is not the mqtt: of Home Assistant.
func ours(keys map[string]yaml.Node) bool {
	file := reflect.TypeOf(config.Keys()[""]).Elem()
	for key, value := range keys {
		_, known := file.FieldByNameFunc(func(name string) bool {
			f, _ := file.FieldByName(name)
			return f.Tag.Get("yaml") == key
		})
		var entries map[string]yaml.Node
		if !known || value.Decode(&entries) == nil && entries["binary_sensor"].Kind != 0 {
			return false
		}
	}
	return len(keys) > 0
}

const (
	server  = "mqtt: {server: mqtts://broker.example.com}\n"
	outputs = "outputs: {pump: {kind: simulated, max_on: 30m}}\n"
	rules   = "rules: {intruder: {any: [{front_door: open}, {hall: on}], armed: [away], then: {pump: 1m}}}\n"
	streams = `sensors:
  door: &contact {kind: simulated, steps: {states: [closed, open], every: 1h}}
  front_door: *contact
  window: *contact
  key_switch: *contact
  hall: {kind: simulated, steps: {states: ["off", "on"], every: 1h}}
  cellar: &leak {kind: simulated, steps: {states: [dry, wet], every: 1h}}
  kitchen: *leak
  pump_aux: {kind: simulated, steps: {states: [stopped, running], every: 1h}}
`
)

// load adds what a part of a file needs: a server, and the streams that the pages use.
func load(t *testing.T, place, text string, keys map[string]yaml.Node) {
	t.Helper()
	has := func(key string) bool { _, ok := keys[key]; return ok }
	if !has("mqtt") {
		text += server
	}
	if !has("sensors") {
		text += streams
		if !has("outputs") {
			text += outputs
		}
	}
	if has("arming") && !has("rules") {
		text += rules
	}
	if _, err := config.Parse(place, []byte(text)); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}
