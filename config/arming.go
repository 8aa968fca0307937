package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/arming"
)

// armingKeys are the keys under arming.
type armingKeys struct {
	Name      label                    `yaml:"name"`        // display name of the panel
	Area      label                    `yaml:"area"`        // where it is
	Modes     []string                 `yaml:"modes"`       // of arming.Modes; the first is that of the key switch
	Exit      time.Duration            `yaml:"exit"`        // to 10m
	Entry     map[string]time.Duration `yaml:"entry"`       // by stream, to 10m
	Follow    []string                 `yaml:"follow"`      // streams on the way from the door to the keypad
	Ready     []string                 `yaml:"ready"`       // streams that have to be closed to arm
	Siren     time.Duration            `yaml:"siren"`       // 1s to 1h
	Rearm     bool                     `yaml:"rearm"`       // arm again after the siren time
	Key       string                   `yaml:"key"`         // the stream of a key switch
	CodesFile fileName                 `yaml:"codes_file"`  // of hashed codes
	CodeToArm bool                     `yaml:"code_to_arm"` // also to arm
	Commands  bool                     `yaml:"commands"`    // it takes orders by MQTT
}

// arming returns the arming block, nil if there is none. Its names are checked by
// checkArming, which needs the rules.
func (r *reader) arming(k armingKeys) *arming.Options {
	if !r.has("arming") {
		return nil
	}
	for i, mode := range k.Modes {
		at := fmt.Sprintf("arming.modes[%d]", i)
		switch {
		case r.bad["arming.modes"] || r.bad[at]:
		case !slices.Contains(arming.Modes, mode):
			r.failValue(at, "there is no mode %q%s; known are %s", mode, meant(mode, arming.Modes),
				strings.Join(arming.Modes, ", "))
		case slices.Contains(k.Modes[:i], mode):
			r.failValue(at, "%s is in the list already", mode)
		}
	}
	if len(k.Modes) == 0 && !r.bad["arming.modes"] {
		r.failKey("arming.modes", "needs a mode, such as [away, home]")
	}
	between(r, "arming.exit", k.Exit, 0, 10*time.Minute, "at most 10m")
	between(r, "arming.siren", k.Siren, time.Second, time.Hour, "between 1s and 1h")
	for stream, d := range k.Entry {
		between(r, "arming.entry."+stream, d, time.Second, 10*time.Minute, "between 1s and 10m")
	}
	if k.CodeToArm && k.CodesFile == "" && !r.bad["arming.codes_file"] {
		r.failKey("arming.code_to_arm", "needs codes_file: make one with holdfast arming code NAME")
	}
	// Without the block, a sensor or an output may have the name.
	if first, taken := r.streams[arming.StreamName]; taken {
		r.failKey("arming", "makes the stream %q, which %s makes already (line %d)", arming.StreamName, first.sensor,
			first.line)
	}
	return &arming.Options{Modes: k.Modes, Exit: k.Exit, Entry: k.Entry, Follow: k.Follow, Ready: k.Ready, Siren: k.Siren,
		Rearm: k.Rearm, Key: k.Key, CodesFile: string(k.CodesFile), CodeToArm: k.CodeToArm, Commands: k.Commands}
}

// armingStream is the stream of the panel's state.
func armingStream(k armingKeys) sensors.Stream {
	return sensors.Stream{Name: arming.StreamName, Title: string(k.Name), Area: string(k.Area), Kind: "arming",
		Priority: sensors.Alarm,
		Quantity: sensors.Quantity{Name: arming.StreamName, States: arming.States}}
}

// checkArming checks the names of streams in the arming block, and notes which of them an
// order may bypass.
func (r *reader) checkArming(cfg Config) {
	// What no rule for a mode looks at has no delay and needs no bypass: a person who names it
	// has forgotten the rule, or misspelt the stream.
	opt, watched := cfg.Arming, r.watched(cfg)
	if opt.Commands && opt.CodesFile == "" && cfg.Uplink.Commands.Key.File == "" {
		at := r.place("arming.commands")
		r.warnings = append(r.warnings, Error{r.file, at.Line, at.Column, "arming.commands",
			"whoever may write to alarm/set can disarm: write a codes_file, made with holdfast arming code NAME"})
	}
	streams := statesOf(cfg.Uplink.Streams)
	for stream := range opt.Entry {
		r.zone("arming.entry."+stream, stream, streams, watched)
	}
	for i, stream := range opt.Follow {
		r.zone(fmt.Sprintf("arming.follow[%d]", i), stream, streams, watched)
	}
	for i, stream := range opt.Ready {
		r.known(fmt.Sprintf("arming.ready[%d]", i), stream, streams)
	}
	if r.has("arming.key") {
		r.known("arming.key", opt.Key, streams)
	}
	// A map has no order, and two readings of one file have to be the same for a reload.
	opt.Zones = slices.AppendSeq(slices.Clone(opt.Ready), maps.Keys(watched))
	slices.Sort(opt.Zones)
	opt.Zones = slices.Compact(opt.Zones)
}

// watched are the streams that rules for a mode look at. It reports modes that the panel
// does not have.
func (r *reader) watched(cfg Config) map[string]bool {
	all := map[string]bool{}
	for _, rule := range cfg.Rules {
		for _, mode := range rule.Armed {
			if !slices.Contains(arming.Modes, mode) {
				continue // always and disarmed know no delay and no bypass
			}
			if !slices.Contains(cfg.Arming.Modes, mode) {
				r.failKey("rules."+rule.Name+".armed", "arming.modes has no %q: the rule would never look", mode)
			}
			for _, stream := range causes(rule) {
				all[stream] = true
			}
		}
	}
	return all
}

// statesOf are the names of streams with states, but for the panel's own.
func statesOf(all []sensors.Stream) (names []string) {
	for _, st := range all {
		if len(st.States) > 0 && st.Name != arming.StreamName {
			names = append(names, st.Name)
		}
	}
	return names
}

// known reports whether there is a stream of states with a name.
func (r *reader) known(path, name string, streams []string) bool {
	if r.bad[path] || slices.Contains(streams, name) {
		return !r.bad[path]
	}
	text := "there is no stream %q of states%s"
	if v := r.values[path]; resolve(v).Value == name {
		r.failValue(path, text, name, meant(name, streams))
	} else { // the name is the key
		r.failKey(path, text, name, meant(name, streams))
	}
	return false
}

// zone checks a stream for which only rules for a mode count.
func (r *reader) zone(path, name string, streams []string, watched map[string]bool) {
	// A rule with a mistake may be the one that looks at it.
	if r.known(path, name, streams) && !watched[name] && !r.badWithin["rules"] {
		r.failKey(path, "no rule with armed: looks at %s: without one this does nothing", name)
	}
}
