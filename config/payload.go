package config

import (
	"fmt"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// payloadKeys decide how readings and states are published: those of all streams, or those
// of one sensor, for which the keys at the top of the file are the defaults.
type payloadKeys struct {
	Payload payloadWord `yaml:"payload"` // json or plain
	Plain   plainKeys   `yaml:"plain"`
}

// plainKeys are the keys under plain.
type plainKeys struct {
	History bool `yaml:"history"` // the backlog is sent too, although nothing marks it as late
}

// A payloadWord is json or plain.
type payloadWord string

const wordPlain payloadWord = "plain"

// UnmarshalText accepts json and plain.
func (p *payloadWord) UnmarshalText(text []byte) error {
	switch word := payloadWord(text); word {
	case "json", wordPlain:
		*p = word
		return nil
	}
	return fmt.Errorf("want json or plain, not %q: what else a back end needs, it makes of json", text)
}

// formats collects the formats of all streams. top has the keys at the top of the file,
// which are the defaults of all sensors.
type formats struct {
	payload.Formats
	top payloadKeys
}

// newFormats returns the formats of a file without sensors.
func newFormats(top payloadKeys) formats {
	return formats{payload.Formats{Default: formatOf(top)}, top}
}

func formatOf(k payloadKeys) payload.Format {
	switch {
	case k.Payload != wordPlain:
		return payload.JSON
	case k.Plain.History:
		return payload.PlainHistory
	}
	return payload.Plain
}

// format stores the format of a sensor's streams.
func (r *sensorReader) format(path string, k payloadKeys, streams []sensors.Stream) {
	if !r.has(path + ".payload") {
		k.Payload = r.formats.top.Payload
	}
	if !r.has(path + ".plain.history") {
		k.Plain = r.formats.top.Plain
	}
	if at := path + ".plain"; r.has(at) && k.Payload != wordPlain && r.clean(path, "payload", "plain") {
		r.failKey(at, `is only for payloads that are plain: write "payload: plain" beside it`)
	}
	f := formatOf(k)
	if f == r.formats.Default {
		return
	}
	if r.formats.Streams == nil {
		r.formats.Streams = map[string]payload.Format{}
	}
	for _, st := range streams {
		r.formats.Streams[st.Name] = f
	}
}

// checkFormats is called when all sensors are known. The key plain has an effect only if a
// stream is plain, and a back end answers a card reader's reading by its key, which plain
// payloads do not have.
func (r *reader) checkFormats(cfg Config) payload.Formats {
	f := r.formats.Formats
	anyPlain := f.Default.IsPlain()
	for _, own := range f.Streams {
		anyPlain = anyPlain || own.IsPlain()
	}
	if r.has("plain") && !anyPlain && r.clean("", "payload", "plain", "sensors") {
		r.failKey("plain", `is only for payloads that are plain: write "payload: plain" beside it, or at a sensor`)
	}
	for _, door := range cfg.Access {
		if f.Of(door.Reader).IsPlain() {
			r.warn("access."+door.Name, fmt.Sprintf("the payload of %s is plain: a back end cannot answer it, since an "+
				"answer names boot and seq of the reading; the list decides alone", door.Reader))
		}
	}
	return f
}
