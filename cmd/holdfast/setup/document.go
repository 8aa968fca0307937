package setup

import (
	"fmt"
	"strconv"
	"strings"
)

// document is the text of the file. A person keeps it: so it says what each part is
// for, and where the other keys are. The answers must have passed their checks. sensors
// is the section of that name with its key, as scan writes it; today is the date for
// the head.
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

// mqttBlock is the part of the file about the broker. It ends without a line break, so
// that a check can put it behind other keys. The password itself is never in it: only
// the path of its file.
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

// quoted is a text as YAML takes it, however it reads. The escapes of Go that
// QuoteToASCII writes are all escapes of YAML, too (YAML 1.2, section 5.7).
func quoted(text string) string { return strconv.QuoteToASCII(text) }
