package config

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// DefaultRecorderPath is the default path of the recorder's file.
const DefaultRecorderPath = "/etc/holdfast/recorder.yaml"

// How the recorder handles a device that is not in its table yet.
const (
	AcceptUnknown     = "accept"     // it is registered on first sight
	RefuseUnknown     = "refuse"     // its messages are counted and acknowledged, not stored
	QuarantineUnknown = "quarantine" // its messages are stored in the table quarantine
)

// A Recorder is the configuration of holdfast-recorder. After an error it has no meaning.
type Recorder struct {
	Broker        mqtt.Broker   // its ClientID is always set, its Servers if NATS is nil
	NATS          *NATS         // the source instead of a broker; nil: the broker
	Share         string        // the group that shares the work; empty: the recorder gets everything
	Database      string        // "sqlite:PATH" or the URL of a PostgreSQL database
	Unknown       string        // AcceptUnknown, RefuseUnknown or QuarantineUnknown
	BatchSize     int           // messages of one commit at most
	BatchTime     time.Duration // the maximum time that a message waits for a commit
	MaxQuarantine int           // rows of the table quarantine at most
	Status        *Status       // where the page is served; nil: it is not
	Warnings      Errors
}

// recorderFile has the keys of the recorder's configuration. ParseRecorder has the
// defaults; docs/recorder.md documents them.
type recorderFile struct {
	ClientID   string         `yaml:"client_id"`
	MQTT       recorderMQTT   `yaml:"mqtt"`
	NATS       natsKeys       `yaml:"nats"`
	Database   string         `yaml:"database"`
	Devices    deviceKeys     `yaml:"devices"`
	Batch      batchKeys      `yaml:"batch"`
	Quarantine quarantineKeys `yaml:"quarantine"`
	Status     statusKeys     `yaml:"status"`
}

// recorderMQTT are the keys under mqtt: those of the agent that are about the connection to
// the broker.
type recorderMQTT struct {
	Server         string        `yaml:"server"`
	Servers        []string      `yaml:"servers"`
	Username       string        `yaml:"username"`
	PasswordFile   fileName      `yaml:"password_file"`
	AllowPlaintext bool          `yaml:"allow_plaintext"`
	KeepAlive      time.Duration `yaml:"keepalive"` // 5s to 10m
	TLS            tlsKeys       `yaml:"tls"`
	Bind           string        `yaml:"bind"`
	Share          string        `yaml:"share"` // the name of a group of a shared subscription
}

// deviceKeys are the keys under devices. They apply to devices only: a known device may
// have any streams.
type deviceKeys struct {
	Unknown string `yaml:"unknown"` // accept, refuse or quarantine
}

// batchKeys are the keys under batch: when received messages are committed.
type batchKeys struct {
	Size int           `yaml:"size"` // 1 to 20000 messages
	Time time.Duration `yaml:"time"` // 1ms to 1m
}

// quarantineKeys are the keys under quarantine.
type quarantineKeys struct {
	Max int `yaml:"max"` // 1 to 1000000 rows
}

// LoadRecorder reads the recorder's file, or standard input if path is "-". Its errors in
// the file are an [Errors]. It opens no database and no password file. It returns when ctx
// is done, like [Load].
func LoadRecorder(ctx context.Context, path string) (Recorder, error) {
	return untilDone(ctx, func() (Recorder, error) { return loadRecorderFile(path) })
}

// loadRecorderFile reads a file, or standard input if path is "-".
func loadRecorderFile(path string) (Recorder, error) {
	name, in := "<stdin>", os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return Recorder{}, Errors{{File: path, Text: unreadable(err, recorderHints)}}
		}
		defer f.Close()
		name, in = path, f
	}
	data, err := readAll(name, in)
	if err != nil {
		return Recorder{}, err
	}
	return ParseRecorder(name, data)
}

// recorderHints are the suggestions in errors about the recorder's file.
var recorderHints = hints{"holdfast-recorder", []string{"client_id: recorder-1",
	"mqtt: {server: mqtts://broker.example.com}"}}

// ParseRecorder parses the text of the recorder's file; name is its name in errors. Errors
// in the file are an [Errors], and then the Recorder is empty.
func ParseRecorder(name string, data []byte) (Recorder, error) {
	// The decoder of the agent's file: unknown and repeated keys are errors.
	r := &reader{decoder: &decoder{newProblems(name)}}
	f := recorderFile{
		MQTT:     recorderMQTT{KeepAlive: 15 * time.Second},
		NATS:     natsKeys{Keep: 72 * time.Hour}, // a weekend
		Database: "sqlite:/var/lib/holdfast-recorder/history.db",
		Devices:  deviceKeys{Unknown: AcceptUnknown},
		// A commit of 5,000 readings takes about 0.1 s; four commits a second wear a disk little.
		Batch:      batchKeys{Size: 5000, Time: 250 * time.Millisecond},
		Quarantine: quarantineKeys{Max: 10_000},
	}
	// As for the agent, all errors are collected and reported at once.
	var out Recorder
	text := string(data)
	if root := r.document(text); root != nil {
		r.mapping(root, "", reflect.ValueOf(&f).Elem())
		if !r.bad[""] {
			out = r.recorder(f)
		}
	}
	if len(r.errs) > 0 {
		r.explain(text)
		return Recorder{}, r.all()
	}
	return out, nil
}

// recorder checks the keys and returns the Recorder. Each check reports its errors and
// continues, so that all errors are reported at once.
func (r *reader) recorder(f recorderFile) Recorder {
	switch {
	case r.bad["client_id"]:
	case !r.has("client_id"):
		r.failKey("client_id", `is missing: the broker keeps what it queues for the recorder under this name; `+
			`write client_id: recorder-1`)
	default:
		r.clientID(f.ClientID)
	}
	out := Recorder{NATS: r.nats(f.NATS), Database: r.database(f.Database), Unknown: f.Devices.Unknown,
		BatchSize: f.Batch.Size, BatchTime: f.Batch.Time, MaxQuarantine: f.Quarantine.Max}
	out.Status = r.recorderStatus(f.Status)
	if out.NATS == nil {
		out.Broker, out.Share = r.recorderBroker(f.MQTT), r.share("mqtt.share", f.MQTT.Share, f.Database)
	} else {
		out.Share = r.share("nats.share", f.NATS.Share, f.Database)
	}
	out.Broker.ClientID = f.ClientID
	// This value cannot be a secret, so the text may be repeated.
	switch f.Devices.Unknown {
	case AcceptUnknown, RefuseUnknown, QuarantineUnknown:
	default:
		if !r.bad["devices.unknown"] {
			r.failValue("devices.unknown", "want accept, refuse or quarantine, not %q", f.Devices.Unknown)
		}
	}
	between(r, "batch.size", int64(f.Batch.Size), 1, 20_000, "between 1 and 20000")
	between(r, "batch.time", f.Batch.Time, time.Millisecond, time.Minute, "between 1ms and 1m")
	between(r, "quarantine.max", int64(f.Quarantine.Max), 1, 1_000_000, "between 1 and 1000000")
	out.Warnings = r.warnings.sorted()
	return out
}

// recorderBroker checks the connection to the broker as for the agent's file, with the same
// errors. It opens no file.
func (r *reader) recorderBroker(m recorderMQTT) mqtt.Broker {
	// The word means a broker inside the process, which the recorder does not have.
	if m.Server == "embedded" {
		r.failValue("mqtt.server", "the embedded broker is inside of an agent: write the address of that agent")
		return mqtt.Broker{}
	}
	// The limits and checks are those of the agent: see mqttReader.read.
	between(r, "mqtt.keepalive", m.KeepAlive, 5*time.Second, 10*time.Minute, "between 5s and 10m")
	own := mqttReader{reader: r}
	own.username(m.Username)
	r.passwordFile("mqtt.password_file", m.PasswordFile)
	b := mqtt.Broker{Username: m.Username, KeepAlive: m.KeepAlive, Bind: r.bind(m.Bind),
		Password: recorderPassword(m.PasswordFile),
		TLS: mqtt.TLS{CA: string(m.TLS.CA), Cert: string(m.TLS.Cert), Key: string(m.TLS.Key),
			ServerName: m.TLS.ServerName, ALPN: m.TLS.ALPN}}
	// A password must not be sent in plain text outside of a private network.
	own.guarded = b.Password.IsSet() && !m.AllowPlaintext
	b.Servers = own.servers(mqttKeys{Server: m.Server, Servers: m.Servers})
	own.tls(uplink.Options{Broker: b})
	return b
}

// recorderStatus checks where the page is served, like the agent's file, except that a unix
// socket is not offered.
func (r *reader) recorderStatus(k statusKeys) *Status {
	if strings.HasPrefix(k.Listen, "unix:") {
		r.failValue("status.listen", "the recorder listens on a port: write 127.0.0.1:8081")
		return nil
	}
	return r.status(k)
}

// share checks the name of a group. Its members have to know the same sequences, otherwise
// each of them would report the readings of the others as missing.
func (r *reader) share(path, group, database string) string {
	switch problem := nameProblem(group); {
	case !r.has(path) || r.bad[path]:
	case problem != "":
		r.failValue(path, "%s", problem)
	case strings.HasPrefix(database, "sqlite:"):
		r.failValue(path, "recorders that share the work need one database: write database: postgres://USER@HOST/NAME")
	}
	return group
}

// recorderPassword is password without the file of the agent's package: the recorder on the
// same machine has another account.
func recorderPassword(file fileName) mqtt.Secret {
	if p := password(file); file != "" || p.File != packagedPassword {
		return p
	}
	return mqtt.Secret{Env: "HOLDFAST_MQTT_PASSWORD"}
}

// database checks where the history is stored. A password in the URL would be in copies of
// this file and in logs: PostgreSQL reads it from ~/.pgpass or PGPASSWORD.
func (r *reader) database(text string) string {
	const path = "database"
	if r.bad[path] {
		return ""
	}
	// A relative path would be another file in each working directory.
	file, isFile := strings.CutPrefix(text, "sqlite:")
	u, err := url.Parse(text)
	switch {
	case isFile && filepath.IsAbs(file) && !strings.HasSuffix(file, "/"):
	case isFile:
		r.failValue(path, "needs the whole path of a file: write sqlite:/var/lib/holdfast-recorder/history.db")
	case !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://"):
		r.failValue(path, "want sqlite:/PATH/OF/FILE or postgres://USER@HOST/NAME")
	case err != nil || strings.Trim(u.Path, "/") == "":
		r.failValue(path, "is not an address: write postgres://USER@HOST/NAME")
	case hasPassword(u):
		r.failValue(path, "cannot have a password: write it to ~/.pgpass, or set PGPASSWORD")
	}
	return text
}

// hasPassword reports whether a URL has a password, before the host or as a parameter,
// which the driver accepts as well.
func hasPassword(u *url.URL) bool {
	_, has := u.User.Password()
	return has || u.Query().Has("password")
}
