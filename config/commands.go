package config

import (
	"time"

	"github.com/holdfast-iot/holdfast/uplink"
	"github.com/holdfast-iot/holdfast/uplink/mqtt"
)

// commandKeys are the keys under commands: how orders by MQTT are checked. The outputs
// themselves define whether they take orders.
type commandKeys struct {
	MaxAge  time.Duration `yaml:"max_age"`  // 1s to 10m
	KeyFile keyFileName   `yaml:"key_file"` // its first line is the key
}

// A keyFileName is a fileName that may be empty: key_file: "" means that orders need no
// mac.
type keyFileName fileName

// UnmarshalText accepts an empty text and any fileName.
func (f *keyFileName) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*f = ""
		return nil
	}
	return (*fileName)(f).UnmarshalText(text)
}

// commands checks how orders are checked. max_age is at least a second, because an order
// needs that time to arrive, and at most ten minutes, because an older order no longer
// matches the situation. cfg has the outputs and the doors.
func (r *reader) commands(k commandKeys, cfg Config) uplink.Commands {
	between(r, "commands.max_age", k.MaxAge, time.Second, 10*time.Minute, "between 1s and 10m")
	c := uplink.Commands{MaxAge: k.MaxAge}
	if k.KeyFile != "" {
		c.Key = mqtt.Secret{File: string(k.KeyFile), Key: "commands.key_file"}
		r.passwordFile("commands.key_file", fileName(k.KeyFile))
	}
	c.Outputs = takeOrders(cfg.Outputs)
	for _, door := range cfg.Access {
		c.Asking = append(c.Asking, door.Output)
	}
	return c
}
