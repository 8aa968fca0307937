package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/outputs"
	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
	"github.com/holdfast-iot/holdfast/uplink/payload"
)

// A file is the configuration as a person writes it.
type file struct {
	ClientID string    `yaml:"client_id"` // absent: see defaultClientID
	Name     label     `yaml:"name"`      // what people call the node
	Area     label     `yaml:"area"`      // where it is
	MQTT     mqttKeys  `yaml:"mqtt"`
	Queue    queueKeys `yaml:"queue"`
	Drain    drainKeys `yaml:"drain"`
	Topics   topicKeys `yaml:"topics"`
	payloadKeys
	Home     homeKeys    `yaml:"home_assistant"`
	Clock    clockKeys   `yaml:"clock"`
	Status   statusKeys  `yaml:"status"`
	Commands commandKeys `yaml:"commands"`
	Sensors  yaml.Node   `yaml:"sensors"` // decoded by hand: its keys are names, and their order counts
	Outputs  yaml.Node   `yaml:"outputs"` // the same
	Access   yaml.Node   `yaml:"access"`  // the same
	Rules    yaml.Node   `yaml:"rules"`   // the same
	Arming   armingKeys  `yaml:"arming"`
}

// queueKeys are the keys under queue.
type queueKeys struct {
	Path      fileName      `yaml:"path"`
	MaxSize   size          `yaml:"max_size"`   // 1MiB to 1024GiB, to 256MiB on 32-bit ARM
	MaxAge    time.Duration `yaml:"max_age"`    // 1h to 3650d; 0: no bound
	SyncEvery time.Duration `yaml:"sync_every"` // 100ms to 10m
}

// topicKeys are the keys under topics: patterns with {client_id} and {stream}.
type topicKeys struct {
	Reading string `yaml:"reading"` // of the history
	State   string `yaml:"state"`   // of the retained state
}

// clockKeys are the keys under clock.
type clockKeys struct {
	Trust trust `yaml:"trust"` // auto, always or never
}

// defaults returns the values of absent keys. README.md and docs/configuration.md show them;
// a change here changes installed agents.
func defaults() file {
	return file{
		MQTT: mqttKeys{
			KeepAlive: 15 * time.Second, // a broken link is noticed within half a minute
			Prove:     true,             // else nobody notices what an access list denies
			Retain:    true,
			Version:   mqttVersion(mqtt.Auto),
			WillDelay: 5 * time.Second, // a short cut does not look like the end of the agent
			Health:    healthKeys{Every: uplink.DefaultHealth},
			Reconnect: reconnectKeys{Within: uplink.DefaultWithin},
			Embedded:  embeddedKeys{Listen: "127.0.0.1:1883"},
		},
		Queue: queueKeys{
			Path:      DefaultQueue,
			MaxSize:   64 << 20,        // months of a few sensors, and a card has it
			SyncEvery: 5 * time.Second, // what a power cut may take, against the wear of the card
		},
		Drain:    drainKeys{Rate: uplink.AutoRate, Window: uplink.DefaultWindow},
		Topics:   topicKeys(payload.DefaultPatterns),
		Home:     homeKeys{Prefix: "homeassistant"},
		Commands: commandKeys{MaxAge: 30 * time.Second},
		Arming:   armingKeys{Modes: []string{"away", "home"}, Exit: 30 * time.Second, Siren: 3 * time.Minute, Rearm: true},
	}
}

// A reader checks the values that the decoder has found and makes the Config from them. Each
// part of the file has a method, or a type if it has many keys. A check reports a mistake and
// continues, so that a person sees all mistakes at once; its result is then dropped at the end.
type reader struct {
	*decoder
	catalog
	taken
	formats  formats
	warnings Errors // what is no mistake and still worth a word
}

// taken has the names and the hardware that sensors and outputs use already.
type taken struct {
	streams map[string]maker  // by name
	claims  map[string]string // path of the sensor, by the hardware that it has for itself
	parts   map[string]string // the same, by the hardware that it has a part of
}

// parse is Parse with a given catalog of kinds. It decodes the text, checks the values, and
// returns a Config or all errors.
func parse(name string, data []byte, kinds catalog) (Config, error) {
	r := &reader{decoder: &decoder{newProblems(name)}, catalog: kinds,
		taken: taken{map[string]maker{}, map[string]string{}, map[string]string{}}}
	var cfg Config
	text := string(data)
	if root := r.document(text); root != nil {
		f := defaults()
		r.mapping(root, "", reflect.ValueOf(&f).Elem())
		if !r.bad[""] { // else there are no values to check
			cfg = r.interpret(f)
		}
	}
	// Only now: what looks wrong in a valid file is its own business.
	if len(r.errs) > 0 {
		r.explain(text)
		return Config{}, r.all()
	}
	return cfg, nil
}

// interpret makes the Config, part by part. The order of the parts matters: topics and Home
// Assistant need the client ID and the streams.
func (r *reader) interpret(f file) Config {
	cfg := Config{Clock: clock.Trust(f.Clock.Trust), Queue: r.queue(f.Queue)}
	cfg.Uplink, cfg.Embedded = r.mqtt(f.MQTT)
	cfg.Uplink.Title, cfg.Uplink.Area = string(f.Name), string(f.Area)
	cfg.Uplink.Drain = r.drain(f.Drain)
	cfg.Uplink.ClientID = r.clientID(f.ClientID)
	cfg.Queue.ClientID = cfg.Uplink.ClientID
	r.formats = newFormats(f.payloadKeys)
	cfg.Sensors = r.sensors(&f.Sensors)
	cfg.Uplink.Streams = make([]sensors.Stream, 0, len(cfg.Sensors)) // for most: thousands need no room to grow
	for _, s := range cfg.Sensors {
		if c, ok := s.Options.(drivers.Commander); ok && c.RunsCommand() {
			cfg.Commands = true
		}
		cfg.Uplink.Streams = append(cfg.Uplink.Streams, s.AllStreams()...)
	}
	cfg.Outputs = r.outputs(&f.Outputs, cfg.Uplink.Streams)
	cfg.Commands = cfg.Commands || runCommands(cfg.Outputs)
	cfg.Uplink.Streams = append(cfg.Uplink.Streams, outputs.Streams(cfg.Outputs)...)
	cfg.Access = r.access(&f.Access, cfg.Sensors, cfg.Outputs)
	cfg.Uplink.Commands = r.commands(f.Commands, cfg)
	r.reactions(f, &cfg)
	// Both need the streams that there are.
	cfg.Uplink.Topics = r.topics(f.Topics, cfg.Uplink.ClientID, cfg.Uplink.Streams)
	cfg.Uplink.Formats = r.checkFormats(cfg)
	cfg.Uplink.HomeAssistant = r.home(f.Home, cfg)
	cfg.Status = r.status(f.Status)
	cfg.Warnings = r.warnings.sorted()
	shareStreams(&cfg)
	return cfg
}

// shareStreams lets the sensors have their streams in the list of all streams, so that a
// thousand are not kept twice. Nobody changes either from here on. A sensor with an alarm
// keeps its own: in the list, the alarm's stream is among them.
func shareStreams(cfg *Config) {
	rest := cfg.Uplink.Streams // of this sensor and those after it
	for i := range cfg.Sensors {
		s := &cfg.Sensors[i]
		n, all := len(s.Streams), s.StreamCount()
		if n == all {
			s.Streams = rest[:n:n]
		}
		rest = rest[all:]
	}
}

// reactions reads the rules and the panel, which need all streams and outputs.
func (r *reader) reactions(f file, cfg *Config) {
	if cfg.Arming = r.arming(f.Arming); cfg.Arming != nil {
		cfg.Uplink.Streams = append(cfg.Uplink.Streams, armingStream(f.Arming))
		cfg.Uplink.Commands.Alarm = cfg.Arming.Commands
	}
	cfg.Rules = r.rules(&f.Rules, *cfg, cfg.Arming != nil)
	if cfg.Arming != nil {
		r.checkArming(*cfg)
	}
	r.checkCycles(*cfg)
	r.idleOutputs(*cfg)
}

// arch decides how large the queue's file may be: bbolt maps the whole file into memory, and
// 32-bit ARM has only some 2 GiB of address space for that and the heap. It is a variable so
// that tests can change it.
var arch = runtime.GOARCH

// queue checks the bounds of the queue. Below 1MiB, bbolt's own pages would be a
// large part of the file; more than ten minutes between two commits would be more
// than a power cut should take.
func (r *reader) queue(q queueKeys) queue.Options {
	largest, text := size(1<<40), "between 1MiB and 1024GiB"
	if arch == "arm" {
		largest, text = 256<<20, "between 1MiB and 256MiB on 32-bit ARM"
	}
	between(r, "queue.max_size", q.MaxSize, 1<<20, largest, text)
	between(r, "queue.sync_every", q.SyncEvery, 100*time.Millisecond, 10*time.Minute, "between 100ms and 10m")
	if q.MaxAge != 0 {
		between(r, "queue.max_age", q.MaxAge, time.Hour, 3650*24*time.Hour, "between 1h and 3650d")
	}
	return queue.Options{Path: string(q.Path), MaxSize: int64(q.MaxSize), MaxAge: q.MaxAge, SyncEvery: q.SyncEvery}
}

// between reports a value that is lower than lo or higher than hi; text has both limits with
// their units, for the error.
func between[T ~int64](r *reader, path string, value, lo, hi T, text string) {
	if !r.bad[path] && (value < lo || value > hi) {
		r.failValue(path, "must be %s", text)
	}
}

// nameProblem returns why a name is rejected; empty: it is accepted. Names of sensors and
// streams become levels of topics, keys of Home Assistant and columns of a database: all of
// these allow letters, digits, _ and -.
func nameProblem(name string) string {
	switch {
	case glued(name) != "":
		return fmt.Sprintf(noBlank, glued(name)+": ")
	case len(name) > 64:
		return fmt.Sprintf("%q has %d characters: at most 64 are allowed", name, len(name))
	case !sensors.IsName(name):
		return fmt.Sprintf("%q is not a valid name: use letters, digits, _ and - (A-Z a-z 0-9 _ -)", name)
	}
	return ""
}

// topicLevelProblem is nameProblem for names that stand beside the agent's own in a topic.
func topicLevelProblem(name string) string {
	if name == "agent" {
		return `"agent" is reserved for the agent's own topics`
	}
	return nameProblem(name)
}

// A fileName is a path that is not empty. The file need not exist on this machine. ~ and $HOME
// are rejected, because only a shell expands them.
type fileName string

// UnmarshalText rejects what cannot be the name of a file: nothing, a certificate
// itself, several lines, a folder, and what only a shell would expand. The text is
// not repeated: it may be the password.
func (f *fileName) UnmarshalText(text []byte) error {
	switch {
	case len(text) == 0:
		return errors.New("the name of a file is missing")
	case bytes.Contains(text, []byte("-----BEGIN ")):
		return errors.New("this is the content of a file: write it to one, and its name here")
	case bytes.ContainsFunc(text, unicode.IsControl):
		return errors.New("the name of a file has a line break or a tab: write it on one line, behind the key")
	case text[0] == '~', text[0] == '$':
		return errors.New("only a shell knows ~ and $: write the whole path, as in /home/pi/file")
	case text[len(text)-1] == '/':
		return errors.New("is a folder: name the file in it")
	}
	*f = fileName(text)
	return nil
}

// trust is clock.trust as the file has it.
type trust clock.Trust

// UnmarshalText accepts auto, always and never.
func (t *trust) UnmarshalText(text []byte) error {
	// The text may be repeated here: no person writes a secret under clock.
	words := map[string]clock.Trust{"auto": clock.TrustAuto, "always": clock.TrustAlways, "never": clock.TrustNever}
	known, ok := words[string(text)]
	if !ok {
		return fmt.Errorf("want auto, always or never, not %q", text)
	}
	*t = trust(known)
	return nil
}
