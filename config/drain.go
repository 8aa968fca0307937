package config

import (
	"net/netip"
	"strings"

	"github.com/holdfast-iot/holdfast/uplink"
)

type drainKeys struct {
	Rate   int64 `yaml:"rate"`
	Window int64 `yaml:"window"`
}

// drain says how fast the backlog goes out.
func (r *reader) drain(d drainKeys) uplink.Drain {
	between(r, "drain.rate", d.Rate, 0, 1_000_000, "between 1 and 1000000 readings a second, or 0 for no bound")
	between(r, "drain.window", d.Window, 1, 1024, "between 1 and 1024 messages in flight")
	return uplink.Drain{Rate: int(d.Rate), Window: int(d.Window)}
}

// bind is an address of this machine, or the name of an interface.
func (r *reader) bind(name string) string {
	_, err := netip.ParseAddr(name)
	if name == "" || err == nil || len(name) < 16 && !strings.ContainsAny(name, " /:\t\n") { // IFNAMSIZ of netdevice(7)
		return name
	}
	r.failValue("mqtt.bind", "%q is neither an address, such as 192.168.1.7, nor the name of an interface, such as wwan0", name)
	return ""
}
