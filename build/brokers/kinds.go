package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"regexp"
	"strings"
)

// kinds are the brokers, starting with those of CI.
var kinds = []kind{mosquitto, nats, mochi, rabbitmq, activemq, ejabberd, aedes}

// mosquitto saves its database every second. It always writes the whole file: with a save
// at every change it would do nothing else on a busy machine.
var mosquitto = kind{
	name: "Mosquitto", ci: true, limits: []string{caseTooLarge, caseConnections},
	source: "Debian `mosquitto`", // it grants every subscription, so there is no guard
	notes: "A crash loses retained messages and sessions since the last autosave (by default half an hour; here a " +
		"second). Beyond `max_queued_messages` (1000) it acknowledges and drops the newest messages for an absent or " +
		"slow subscriber: set it to 0. It acknowledges messages that its access list denies, and drops them. On a " +
		"link with a long delay it delays acknowledgements: `set_tcp_nodelay true` prevents that.",
	version: func(place) (string, error) {
		return versionOf(exec.Command(sbin("mosquitto"), "-h"), `version ([\d.]+)`, "apt-get install mosquitto")
	},
	prepare: func(s *server) error {
		if out, err := exec.Command("mosquitto_passwd", "-c", "-b", s.path("users"), s.kind.userName(),
			password).CombinedOutput(); err != nil {
			return fmt.Errorf("mosquitto_passwd: %w: %s", err, out)
		}
		me, err := osUser()
		if err != nil {
			return err
		}
		if err := s.write("acl", "user %s\ntopic read denied/#\ntopic readwrite answers/#\ntopic readwrite probe\n",
			s.kind.userName()); err != nil {
			return err
		}
		return s.write("mosquitto.conf", `listener %d 127.0.0.1
certfile %s
keyfile %s
allow_anonymous false
password_file %s
user %s
persistence true
persistence_location %s/
autosave_interval 1
log_dest stderr
%s`, s.port, s.place.ca.certFile, s.place.ca.keyFile, s.path("users"), me, s.data(), mosquittoLimits(s))
	},
	command: func(s *server) (*exec.Cmd, error) {
		return exec.Command(sbin("mosquitto"), "-c", s.path("mosquitto.conf")), nil
	},
}

// mosquittoLimits are the configuration lines for limits. 0 means no limit of the queue;
// with that, 2.0.11 resets the connection for a denied message.
func mosquittoLimits(s *server) string {
	l := s.limits
	text := fmt.Sprintf("max_queued_messages %d\n", l.queue) + limit("max_packet_size %d\n", l.size) +
		limit("max_inflight_messages %d\n", l.inflight) + limit("max_connections %d\n", l.connections)
	if l.denied {
		text += "acl_file " + s.path("acl") + "\n"
	}
	return text
}

var nats = kind{
	name: "NATS", ci: true, limits: []string{caseTooLarge, caseConnections},
	source: "`go install github.com/nats-io/nats-server/v2@v2.15.3`", durable: true,
	guard: "guard",
	notes: "It needs JetStream and a `server_name` for MQTT. It closes the connection for a space in a topic and for a " +
		"payload of 1 MiB or more. Use 2.14.10, or 2.15.1 or later: older ones, back to 2.12.4 (2.11.12), may discard " +
		"messages that they have acknowledged and not delivered yet, when any client ends a subscription with QoS 1. " +
		"Each agent does so when it connects. With 2.15.0, 8 of 385 starts lost readings in this way; with 2.15.3, " +
		"none of 214.",
	version: func(p place) (string, error) {
		return versionOf(exec.Command(filepath.Join(p.cache, "nats-server"), "--version"), `v([\d.]+)`,
			"build/brokers/run fetches it")
	},
	prepare: func(s *server) error {
		l, rights := s.limits, ""
		if l.denied {
			rights = `, permissions: {publish: {deny: ["denied.>"]}}`
		}
		return s.write("nats.conf", `server_name: holdfast
listen: "127.0.0.1:%d"
jetstream: {store_dir: "%s"}
%sauthorization: {users: [
  {user: "%s", password: "%s"%s}
  {user: "%s", password: "%s", permissions: {
    publish: ["guard.>"], subscribe: {allow: ["guard.>", "$MQTT.sub.>"], deny: ["guard.siren.set"]}}}
]}
mqtt: {
  listen: "127.0.0.1:%d"
  tls: {cert_file: "%s", key_file: "%s"}
%s}
`, s.more[0], s.data(), limit("max_payload: %d\n", l.size)+limit("max_connections: %d\n", l.connections),
			s.kind.userName(), password, rights, s.kind.guard, password, s.port, s.place.ca.certFile, s.place.ca.keyFile,
			limit("  max_ack_pending: %d\n", l.inflight))
	},
	command: func(s *server) (*exec.Cmd, error) {
		return exec.Command(filepath.Join(s.place.cache, "nats-server"), "-c", s.path("nats.conf")), nil
	},
}

// write writes a file into the broker's folder.
func (s *server) write(name, format string, a ...any) error {
	return os.WriteFile(s.path(name), fmt.Appendf(nil, format, a...), 0o600)
}

// versionOf returns the version that a program prints; mend is the remedy if the program is
// missing.
func versionOf(cmd *exec.Cmd, pattern, mend string) (string, error) {
	out, err := cmd.CombinedOutput() // the exit status of a help text has no meaning
	if found := regexp.MustCompile(pattern).FindSubmatch(out); found != nil {
		return string(found[1]), nil
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("not installed (%s)", mend)
	}
	return "", fmt.Errorf("%s says no version: %v: %s", cmd.Path, err, strings.TrimSpace(string(out)))
}

// debianVersion is the version of an installed package.
func debianVersion(name string) (string, error) {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Status} ${Version}", name).Output()
	version, installed := strings.CutPrefix(string(out), "install ok installed ")
	if err != nil || !installed {
		return "", fmt.Errorf("not installed (apt-get install %s)", name)
	}
	return version, nil
}

// sbin: Debian installs servers in a folder that is not in every user's path.
func sbin(name string) string {
	if file := "/usr/sbin/" + name; isFile(file) {
		return file
	}
	return name
}

func isFile(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// osUser is the present user: as root some brokers would switch to their own user, which
// may not write to the folder.
func osUser() (string, error) {
	me, err := osuser.Current()
	if err != nil {
		return "", err
	}
	return me.Username, nil
}
