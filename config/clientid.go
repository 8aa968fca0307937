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

var hostname = os.Hostname

func (r *reader) clientID(given string) string {
	if !r.has("client_id") {
		return defaultClientID()
	}
	if text := reserved(given); text != "" && !r.bad["client_id"] {
		r.failValue("client_id", "%s", text)
	}
	return given
}

// defaultClientID tells boards apart before hosts: SD images get cloned, and
// their host names with them; boards do not.
func defaultClientID() string {
	for _, name := range serialFiles {
		raw, err := os.ReadFile(name)
		serial := strings.Trim(string(raw), "\x00 \n")
		serial = serial[max(0, len(serial)-8):]
		if err == nil && sensors.IsName(serial) && strings.Trim(serial, "0") != "" {
			return "pi-" + serial
		}
	}
	host, err := hostname()
	if err != nil || host == "" {
		host = "unnamed"
	}
	id := "holdfast-" + unfit.ReplaceAllString(host, "-")
	return id[:min(len(id), 64)]
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]`)
