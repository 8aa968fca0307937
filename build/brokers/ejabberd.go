package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ejabberd runs Debian's program as an Erlang node without a name, which needs no port
// mapper.
var ejabberd = kind{
	name: "ejabberd", source: "Debian `ejabberd`, `mod_mqtt`", user: user + "@localhost",
	notes: "User names have a host: `agent@localhost`. It loses sessions when it restarts, and messages for an " +
		"absent subscriber are only in memory.",
	version: func(place) (string, error) { return debianVersion("ejabberd") },
	prepare: func(s *server) error {
		return s.write("ejabberd.yml", `hosts: [localhost]
loglevel: info
certfiles: [%q, %q]
ca_file: %q
auth_method: internal
listen:
  - {port: %d, ip: 127.0.0.1, module: mod_mqtt, tls: true, backlog: 100%s}
modules:
  mod_mqtt: %s
`, s.place.ca.certFile, s.place.ca.keyFile, s.place.ca.caFile, s.port, limit(", max_payload_size: %d", s.limits.size),
			ejabberdModule(s))
	},
	command: func(s *server) (*exec.Cmd, error) {
		found, err := filepath.Glob("/usr/lib/*/ejabberd-*/ebin")
		if err != nil || len(found) == 0 {
			return nil, errors.New("no /usr/lib/*/ejabberd-*/ebin: is this Debian's package?")
		}
		cmd := exec.Command("erl", "-noinput", "+P", "250000",
			"-mnesia", "dir", fmt.Sprintf("%q", s.data()),
			"-s", "ejabberd",
			"-eval", fmt.Sprintf(`ejabberd_auth:try_register(<<"%s">>, <<"localhost">>, <<"%s">>).`, user, password))
		cmd.Env = append(os.Environ(), "HOME="+s.dir,
			"ERL_LIBS="+filepath.Dir(filepath.Dir(found[0])),
			"ERL_CRASH_DUMP="+s.path("erl_crash.dump"),
			"EJABBERD_CONFIG_PATH="+s.path("ejabberd.yml"),
			"EJABBERD_LOG_PATH="+s.path("ejabberd.log"))
		return cmd, nil
	},
}

// ejabberdModule are the options of mod_mqtt. The queue of a session must be large enough
// for the suite.
func ejabberdModule(s *server) string {
	if s.limits.queue == 0 {
		return "{max_queue: 20000, session_expiry: 1 hour}"
	}
	return fmt.Sprintf(`{max_queue: %d, session_expiry: 1 hour,
    access_publish: {"answers/#": [{allow: all}]}}`, s.limits.queue) // other topics are denied
}
