package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// aedes is a library; aedes/serve.mjs is a broker that uses it.
var aedes = kind{
	name: "aedes", source: "npm `aedes`",
	notes: "Sessions and retained messages are only in memory, unless a persistence is configured. The program " +
		"that embeds it chooses the code for a bad password.",
	version: func(p place) (string, error) {
		if _, err := exec.LookPath("node"); err != nil {
			return "", errors.New("not installed (it needs Node.js 20 and npm)")
		}
		text, err := os.ReadFile(filepath.Join(p.aedes(), "aedes", "package.json"))
		if err != nil {
			return "", errors.New("not installed (build/brokers/run -all fetches it with npm)")
		}
		var made struct{ Version string }
		if err := json.Unmarshal(text, &made); err != nil {
			return "", fmt.Errorf("package.json of aedes: %w", err)
		}
		return made.Version, nil
	},
	prepare: func(*server) error { return nil },
	command: func(s *server) (*exec.Cmd, error) {
		ca := s.place.ca
		return exec.Command("node", filepath.Join(s.place.here, "aedes", "serve.mjs"),
			s.place.aedes(), strconv.Itoa(s.port), ca.certFile, ca.keyFile, s.kind.userName(), password), nil
	},
}

// aedes is the folder of npm's modules.
func (p place) aedes() string { return filepath.Join(p.cache, "aedes", "node_modules") }
