package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// rabbitmq runs Debian's program with its own folders, node name and port mapper, all on
// the loopback interface.
var rabbitmq = kind{
	name: "RabbitMQ", ci: true, limits: []string{caseTooLarge},
	source: "Debian `rabbitmq-server`, plugin `rabbitmq_mqtt`", durable: true, slow: true,
	guard: "guard",
	notes: "It turns `.` in topics into `/`, loses retained messages when it restarts, and does not send " +
		"retained messages to a subscription with a wildcard. QoS 2 becomes 1. It takes 10 s to start. After a message " +
		"beyond `max_message_size` it stops acknowledging, and keeps the connection.",
	version: func(place) (string, error) { return debianVersion("rabbitmq-server") },
	prepare: func(s *server) error {
		if err := s.write("enabled_plugins", "[rabbitmq_mqtt].\n"); err != nil {
			return err
		}
		if err := s.write("definitions.json", "%s", rabbitDefinitions(s)); err != nil {
			return err
		}
		return s.write("rabbitmq.conf", `listeners.tcp = none
mqtt.listeners.tcp = none
mqtt.listeners.ssl.default = 127.0.0.1:%d
mqtt.allow_anonymous = false
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_none
load_definitions = %s
log.console = true
log.file = false
%s`, s.port, s.place.ca.caFile, s.place.ca.certFile, s.place.ca.keyFile, s.path("definitions.json"),
			limit("max_message_size = %d\n", s.limits.size)+limit("mqtt.prefetch = %d\n", s.limits.inflight))
	},
	command: func(s *server) (*exec.Cmd, error) {
		if err := s.epmd(); err != nil {
			return nil, err
		}
		cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmq-server")
		cmd.Env = append(s.erlang(),
			"RUNNING_UNDER_SYSTEMD=true", // the script replaces itself by the server, so signals reach it
			fmt.Sprintf("RABBITMQ_NODENAME=holdfast%d@localhost", s.port),
			"RABBITMQ_CONF_ENV_FILE="+s.path("none"),
			"RABBITMQ_CONFIG_FILE="+s.path("rabbitmq.conf"),
			"RABBITMQ_ENABLED_PLUGINS_FILE="+s.path("enabled_plugins"),
			"RABBITMQ_MNESIA_BASE="+s.data(),
			"RABBITMQ_LOG_BASE="+s.dir,
			"RABBITMQ_PID_FILE="+s.path("pid"),
			fmt.Sprintf("RABBITMQ_DIST_PORT=%d", s.more[1]),
			"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		)
		return cmd, nil
	},
}

// erlang is the environment of an Erlang program that shares nothing with others on this
// machine.
func (s *server) erlang() []string {
	return append(os.Environ(), "HOME="+s.dir, "ERL_EPMD_ADDRESS=127.0.0.1", fmt.Sprintf("ERL_EPMD_PORT=%d", s.more[0]))
}

// epmd starts Erlang's port mapper as a child: a node that finds none would start one that
// outlives it.
func (s *server) epmd() error {
	if len(s.helpers) > 0 {
		return nil
	}
	cmd := exec.Command("epmd")
	cmd.Env = s.erlang()
	p, err := s.child(cmd)
	if err != nil {
		return err
	}
	s.helpers = append(s.helpers, p)
	time.Sleep(300 * time.Millisecond) // it does not report when it listens
	return nil
}

// rabbitDefinitions have two accounts: one may do everything, and the guard reads
// everything below its name except the topic of orders. A topic is a routing key here. The
// limit of the queue applies to sessions whose client ID starts with absent.
func rabbitDefinitions(s *server) string {
	k := s.kind
	type row = map[string]any
	account := func(name string) row {
		salt := []byte("salt")
		hash := sha256.Sum256(append(salt[:len(salt):len(salt)], password...))
		return row{"name": name, "password_hash": base64.StdEncoding.EncodeToString(append(salt, hash[:]...)),
			"hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}
	}
	rights := func(name string) row {
		return row{"user": name, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
	}
	topics := []row{{"user": k.guard, "vhost": "/", "exchange": "amq.topic", "write": "^guard\\..*$",
		"read": `^guard\.(agent\..*|[^.]+)$`}}
	if s.limits.denied {
		topics = append(topics, row{"user": k.userName(), "vhost": "/", "exchange": "amq.topic",
			"write": "^(answers\\..*|probe)$", "read": ".*"})
	}
	policies := []row{}
	if n := s.limits.queue; n > 0 {
		policies = append(policies, row{"vhost": "/", "name": "limit", "pattern": "^mqtt-subscription-absent",
			"apply-to": "queues", "priority": 1, "definition": row{"max-length": n, "overflow": "reject-publish"}})
	}
	text, err := json.Marshal(row{
		"vhosts":            []row{{"name": "/"}},
		"users":             []row{account(k.userName()), account(k.guard)},
		"permissions":       []row{rights(k.userName()), rights(k.guard)},
		"topic_permissions": topics,
		"policies":          policies,
	})
	if err != nil {
		panic("brokers: definitions: " + err.Error()) // strings always marshal
	}
	return string(text)
}
