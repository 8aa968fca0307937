package config

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

func TestCommandsAreParsed(t *testing.T) {
	if c := must(t, oneBroker+oneDoor).Uplink.Commands; c.MaxAge != 30*time.Second || c.Key != (mqtt.Secret{}) {
		t.Errorf("without a key: %+v", c)
	}
	if c := must(t, oneBroker+`commands: {key_file: ""}`+oneDoor).Uplink.Commands; c.Key != (mqtt.Secret{}) {
		t.Errorf("with no file as key: %+v", c)
	}
	c := must(t, oneBroker+"commands: {max_age: 1m, key_file: /etc/holdfast/orders.key}"+oneDoor).Uplink.Commands
	if c.MaxAge != time.Minute || c.Key != (mqtt.Secret{File: "/etc/holdfast/orders.key", Key: "commands.key_file"}) {
		t.Errorf("%+v", c)
	}
}

func TestKeyFileMustNotBeAFolder(t *testing.T) {
	_, err := Parse("x", []byte(oneBroker+"commands: {key_file: /etc/}"+oneDoor))
	if err == nil || !strings.Contains(err.Error(), "commands.key_file: is a folder") {
		t.Errorf("%v", err)
	}
}

func TestMaxAgeOutOfRangeIsRefused(t *testing.T) {
	for _, age := range []string{"0s", "999ms", "11m"} {
		_, err := Parse("x", []byte(oneBroker+"commands: {max_age: "+age+"}"+oneDoor))
		if err == nil || !strings.Contains(err.Error(), "commands.max_age: must be between 1s and 10m") {
			t.Errorf("%s: %v", age, err)
		}
	}
}
