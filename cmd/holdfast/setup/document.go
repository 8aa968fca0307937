package setup

import (
	"fmt"
	"strconv"
	"strings"
)

// document is the text of the file. The user will edit it, so it explains each part, and
// where the other keys are documented. The answers must have passed their checks. sensors
// is the section of that name with its key, as scan writes it; today is the date in the
// header.
func document(a Answers, sensors, today string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The configuration of holdfast on this node, written by holdfast init on %s.
# Change it as you like:
#   holdfast check     says everything that is wrong with it
#   holdfast doctor    tries it for real, and says how to mend what fails
# docs/configuration.md has all keys.

# The first word of every topic: CLIENT_ID/STREAM. It must be this node's alone.
client_id: %s

`, today, quoted(a.ClientID))
	b.WriteString(mqttBlock(a) + "\n")
	fmt.Fprintf(&b, `
# What a dead network cannot take waits here, on disk. These are the defaults.
# queue: {path: /var/lib/holdfast/queue.db, max_size: 64MiB, sync_every: 5s}

# Tells Home Assistant of this node and its sensors, if it has the MQTT integration.
home_assistant: {discovery: %v}

`, a.HomeAssistant)
	b.WriteString(sensors)
	return b.String()
}

// mqttBlock is the part of the file about the broker. It has no line break at the end, so
// that a check can append it to other keys. It never contains the password, only the path
// of its file.
func mqttBlock(a Answers) string {
	text := "mqtt:\n" +
		"  # mqtts:// and wss:// are with TLS, mqtt:// and ws:// without.\n" +
		"  server: " + quoted(a.Server)
	if a.Username != "" {
		text += "\n  username: " + quoted(a.Username)
	}
	if a.PasswordFile != "" {
		text += "\n  password_file: " + quoted(a.PasswordFile) + "   # its first line; not for others to read"
	}
	return text
}

// quoted is a text as a YAML string. All escapes of Go that QuoteToASCII uses are also
// escapes of YAML (YAML 1.2, section 5.7).
func quoted(text string) string { return strconv.QuoteToASCII(text) }
