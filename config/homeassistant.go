package config

import (
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/homeassistant"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// homeKeys are off unless a person says so: what is announced goes beyond the
// agent's own topics, which the broker's access list may not allow, and nobody
// but Home Assistant has a use for it.
type homeKeys struct {
	Discovery bool   `yaml:"discovery"`
	Prefix    string `yaml:"prefix"` // of the topics that Home Assistant subscribes to
}

// home says whether and where the device is announced. It rejects a section without
// the key that switches it on, because a person who writes one wants it, and an
// announcement that is larger than what brokers accept.
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

// homeOutputs are what Home Assistant is told of the outputs, nil without any. It cannot
// sign its orders: where they have to be signed it is offered none.
func homeOutputs(cfg Config) map[string]homeassistant.Output {
	if len(cfg.Outputs) == 0 {
		return nil
	}
	all := map[string]homeassistant.Output{}
	topics := payload.NewTopics(cfg.Uplink.ClientID, payload.DefaultPatterns, nil) // orders have no pattern
	for _, spec := range cfg.Outputs {
		o := homeassistant.Output{Pulse: spec.Pulse > 0}
		if spec.Commands && cfg.Uplink.Commands.Key.File == "" {
			o.Command = topics.Order(spec.Stream.Name)
		}
		all[spec.Stream.Name] = o
	}
	return all
}

// homeAlarm is what Home Assistant is told of the alarm panel, nil without one.
func homeAlarm(cfg Config) *homeassistant.Alarm {
	opt := cfg.Arming
	if opt == nil {
		return nil
	}
	a := &homeassistant.Alarm{Modes: opt.Modes, Code: opt.CodesFile != "", CodeToArm: opt.CodeToArm}
	if opt.Commands && cfg.Uplink.Commands.Key.File == "" { // it cannot sign
		topics := payload.NewTopics(cfg.Uplink.ClientID, payload.DefaultPatterns, nil)
		a.Command = topics.Order(homeassistant.AlarmStream)
	}
	return a
}

// classes tells of those that Home Assistant would refuse. They are no mistake:
// other back ends have classes of their own, and later versions of Home
// Assistant know more of them than we do.
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

// classPath is where the class of a quantity is written.
func (r *reader) classPath(sensor, quantity string) string {
	if own := sensor + ".quantities." + quantity + ".class"; r.has(own) {
		return own
	}
	return sensor + ".class"
}
