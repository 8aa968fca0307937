package output

import (
	"strings"

	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/i2c"
)

// Keys are the keys of the configuration that select the line of an output. Exactly one of Kind,
// GPIO, MCP23017, PCF8574 and Command must be given.
type Keys struct {
	Kind     string   `yaml:"kind"`     // "simulated"
	GPIO     gpio.Pin `yaml:"gpio"`     // a line of the machine
	MCP23017 uint16   `yaml:"mcp23017"` // the address of the part
	PCF8574  uint16   `yaml:"pcf8574"`  // the address of the part
	Command  []string `yaml:"command"`  // a program and its arguments

	I2C    i2c.Bus `yaml:"i2c"`    // the bus of the part
	Pin    string  `yaml:"pin"`    // of the part
	Active string  `yaml:"active"` // the level while the output is on: "high" or "low"
}

// DefaultKeys returns the defaults of the keys.
func DefaultKeys() Keys { return Keys{I2C: 1, Active: "high"} }

// Kinds are the keys that select the kind of line.
var Kinds = []string{"gpio", "mcp23017", "pcf8574", "command", "kind"}

// Options converts the keys to options. has reports whether a key is in the file. If there are
// problems, the options must not be used.
func (k Keys) Options(has func(key string) bool) (Options, []drivers.Problem) {
	var given []string
	for _, key := range Kinds {
		if has(key) {
			given = append(given, key)
		}
	}
	if len(given) != 1 {
		text := "needs one of gpio, mcp23017, pcf8574 and command, or kind: simulated"
		if len(given) > 1 {
			text += ", and has " + strings.Join(given, " and ")
		}
		return nil, []drivers.Problem{{Text: text}}
	}
	low := k.Active == "low"
	problems := k.checkOthers(given[0], has)
	if k.Active != "low" && k.Active != "high" {
		problems = append(problems, problem("active", "%q is not high or low: the level while the output is on", k.Active))
	}
	var o Options
	switch given[0] {
	case "gpio":
		o = &gpioOptions{Pin: k.GPIO, Low: low}
	case "mcp23017":
		o = &mcp23017Options{Bus: k.I2C, Address: k.MCP23017, Pin: k.Pin, Low: low}
	case "pcf8574":
		o = &pcf8574Options{Bus: k.I2C, Address: k.PCF8574, Pin: k.Pin, Low: low}
	case "command":
		o = &commandOptions{Command: k.Command}
	default:
		o = &simulatedOptions{Kind: k.Kind}
	}
	return o, append(problems, o.Check()...)
}

// checkOthers reports keys that have no effect for this kind of line.
func (k Keys) checkOthers(kind string, has func(key string) bool) (problems []drivers.Problem) {
	part := kind == "mcp23017" || kind == "pcf8574"
	for _, key := range []string{"i2c", "pin"} {
		if has(key) && !part {
			problems = append(problems, problem(key, "is for mcp23017 and pcf8574: leave it out"))
		}
	}
	if has("active") && (kind == "command" || kind == "kind") {
		problems = append(problems, problem("active", "is for lines with a level: leave it out"))
	}
	if part && !has("pin") {
		problems = append(problems, problem("", `needs "pin": which of the part's`))
	}
	return problems
}
