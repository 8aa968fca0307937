package config

import (
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// homeKeys are off by default: the announcement is published outside of the agent's own
// topics, which the broker's access list may not allow, and only Home Assistant uses it.
type homeKeys struct {
	Discovery bool   `yaml:"discovery"`
	Prefix    string `yaml:"prefix"` // of the topics that Home Assistant subscribes to
}

// home checks whether and where the device is announced. It rejects a section without the
// key that enables it, because a user who writes the section wants the announcement, and an
// announcement that is larger than brokers accept.
func (r *reader) home(h homeKeys, cfg Config) uplink.HomeAssistant {
	ha := uplink.HomeAssistant{Discovery: h.Discovery, Prefix: h.Prefix, Outputs: homeOutputs(cfg),
		Alarm: homeAlarm(cfg)}
	const key = "home_assistant.discovery"
	if r.has("home_assistant") && !r.has(key) && !r.bad["home_assistant"] && !r.bad[key] {
		r.failKey("home_assistant",
			`needs "discovery": write discovery: true to announce the sensors to Home Assistant`)
	}
	path := "home_assistant.prefix"
	if text := topicProblem(h.Prefix, h.Prefix); text != "" && !r.bad[path] {
		r.failValue(path, "%s", text)
	}
	if !h.Discovery || r.bad[path] {
		return ha
	}
	up := cfg.Uplink
	up.HomeAssistant = ha
	if n := len(up.Discovery().Payload); n > homeassistant.MaxDiscovery {
		r.failValue(key, "to announce %d streams takes %dKiB, and brokers cut the connection for 1024KiB: "+
			"spread the sensors over two agents with a client_id each", len(up.Streams), n>>10)
	}
	r.classes(cfg.Sensors)
	return ha
}

// homeOutputs are the outputs in the announcement, nil without any. Home Assistant cannot
// sign orders: if orders must be signed, none are offered.
func homeOutputs(cfg Config) map[string]homeassistant.Output {
	if len(cfg.Outputs) == 0 {
		return nil
	}
	all := map[string]homeassistant.Output{}
	topics := payload.NewTopics(cfg.Uplink.ClientID, payload.DefaultPatterns, nil) // topics of orders have no pattern
	for _, spec := range cfg.Outputs {
		o := homeassistant.Output{Pulse: spec.Pulse > 0}
		if spec.Commands && cfg.Uplink.Commands.Key.File == "" {
			o.Command = topics.Order(spec.Stream.Name)
		}
		all[spec.Stream.Name] = o
	}
	return all
}

// homeAlarm is the alarm panel in the announcement, nil without one.
func homeAlarm(cfg Config) *homeassistant.Alarm {
	opt := cfg.Arming
	if opt == nil {
		return nil
	}
	a := &homeassistant.Alarm{Modes: opt.Modes, Code: opt.CodesFile != "", CodeToArm: opt.CodeToArm}
	if opt.Commands && cfg.Uplink.Commands.Key.File == "" { // Home Assistant cannot sign orders
		topics := payload.NewTopics(cfg.Uplink.ClientID, payload.DefaultPatterns, nil)
		a.Command = topics.Order(homeassistant.AlarmStream)
	}
	return a
}

// classes warns of classes that Home Assistant would refuse. They are not errors: other
// back ends have their own classes, and later versions of Home Assistant have more classes.
func (r *reader) classes(specs []sensors.Spec) {
	for _, spec := range specs {
		for _, s := range spec.AllStreams() {
			if text := homeassistant.ClassProblem(s); text != "" {
				path := r.classPath("sensors."+spec.Name, s.Quantity.Name)
				at := r.place(path)
				r.warnings = append(r.warnings, Error{r.file, at.Line, at.Column, path, text})
			}
		}
	}
}

// classPath is the path of a quantity's class.
func (r *reader) classPath(sensor, quantity string) string {
	if own := sensor + ".quantities." + quantity + ".class"; r.has(own) {
		return own
	}
	return sensor + ".class"
}
