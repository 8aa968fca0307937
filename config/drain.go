package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/holdfast-iot/holdfast/uplink"
)

// drainKeys are the keys under drain: how the backlog is sent.
type drainKeys struct {
	Rate   rate  `yaml:"rate"`   // auto, or 0 to 1000000 readings a second
	Window int64 `yaml:"window"` // 1 to 1024 messages in flight
}

// A rate is routine readings a second, 0 for no limit, or uplink.AutoRate.
type rate int

// UnmarshalText accepts auto and whole numbers from 0 to 1000000. No network carries more
// than a million readings a second, so a larger number is an error.
func (v *rate) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*v = uplink.AutoRate
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil || n > 1_000_000 {
		return fmt.Errorf("must be auto, or between 1 and 1000000 readings a second, or 0 for no bound")
	}
	*v = rate(n)
	return nil
}

// drain checks how fast the backlog is sent. The window is limited because each message in
// it is in memory, and because MQTT has 65535 packet identifiers.
func (r *reader) drain(d drainKeys) uplink.Drain {
	between(r, "drain.window", d.Window, 1, 1024, "between 1 and 1024 messages in flight")
	return uplink.Drain{Rate: int(d.Rate), Window: int(d.Window)}
}

// bind returns an address of this machine, or the name of an interface; "" lets the kernel
// choose. It does not check that the address exists: a modem may be plugged in later.
func (r *reader) bind(name string) string {
	_, err := netip.ParseAddr(name)
	if name == "" || err == nil || len(name) < 16 && !strings.ContainsAny(name, " /:\t\n") { // IFNAMSIZ of netdevice(7)
		return name
	}
	r.failValue("mqtt.bind", "%q is neither an address, such as 192.168.1.7, "+
		"nor the name of an interface, such as wwan0", name)
	return ""
}
