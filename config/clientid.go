package config

import (
	"os"
	"regexp"
	"strings"

	"github.com/holdfast-iot/holdfast/sensors"
)

// serialFiles have the serial number of the board, ended by a NUL.
var serialFiles = []string{
	"/proc/device-tree/serial-number",
	"/sys/firmware/devicetree/base/serial-number",
}

// hostname is a variable so that tests can replace it.
var hostname = os.Hostname

// clientID checks the configured client ID, or derives one if the file has none. Letters,
// digits, _ and - are accepted, 1 to 64 of them, because the client ID is a level of every
// topic; "agent" is rejected.
func (r *reader) clientID(given string) string {
	if !r.has("client_id") {
		return defaultClientID()
	}
	if text := topicLevelProblem(given); text != "" && !r.bad["client_id"] {
		r.failValue("client_id", "%s", text)
	}
	return given
}

// defaultClientID is derived from the serial number of the board, or from the host name if
// there is none: a cloned SD card has the host name of the original, and another board. The
// result is always a valid client ID of at most 64 characters.
func defaultClientID() string {
	serial := BoardSerial()
	// The last eight digits differ between boards of one batch; some boards have zeros.
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

// BoardSerial is the serial number of the board, as the firmware reports it to the kernel;
// empty if there is none.
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

// unfit matches a character that a client ID must not have.
var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]`)
