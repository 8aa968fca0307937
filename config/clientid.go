package config

import (
	"os"
	"regexp"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// serialFiles hold the serial number of the board, ended by a NUL.
var serialFiles = []string{
	"/proc/device-tree/serial-number",
	"/sys/firmware/devicetree/base/serial-number",
}

// hostname is a variable so that tests can put another in its place.
var hostname = os.Hostname

// clientID checks the name under which the broker knows the agent, or makes one if
// the file has none. Letters, digits, _ and - are accepted, 1 to 64 of them, because
// the name is a level of every topic; "agent" is rejected.
func (r *reader) clientID(given string) string {
	if !r.has("client_id") {
		return defaultClientID()
	}
	if text := topicLevelProblem(given); text != "" && !r.bad["client_id"] {
		r.failValue("client_id", "%s", text)
	}
	return given
}

// defaultClientID names the board, or the host if the board has no serial number: SD
// images get cloned, and their host names with them; boards do not. The result is
// always a valid client ID of at most 64 characters.
func defaultClientID() string {
	serial := BoardSerial()
	// The last eight digits tell boards of one batch apart; some boards have zeros.
	if serial = serial[max(0, len(serial)-8):]; strings.Trim(serial, "0") != "" {
		return "pi-" + serial
	}
	host, err := hostname()
	if err != nil || host == "" {
		host = "unnamed"
	}
	id := "holdfast-" + unfit.ReplaceAllString(host, "-")
	return id[:min(len(id), 64)]
}

// BoardSerial is the serial number of the board, as the kernel has it from its firmware;
// empty if it has none.
func BoardSerial() string {
	for _, name := range serialFiles {
		raw, err := os.ReadFile(name)
		serial := strings.Trim(string(raw), "\x00 \n")
		if err == nil && sensors.IsName(serial) && strings.Trim(serial, "0") != "" {
			return serial
		}
	}
	return ""
}

// unfit is a character that no client ID has.
var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]`)
