package doctor

import (
	"context"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
)

// A Site is the machine and the configuration under test. Tests set its folders to their
// own trees, and its functions to the answers of a machine. A site is used by one run,
// which calls one check after the other.
//
// It has many methods because each check needs the same folders, functions and notes: they
// are the helpers of the checks, each in the file of the check that needs it.
type Site struct {
	Config   config.Config
	Hardware *drivers.Hardware // its Dev, Sys and Proc are the roots
	Etc      string            // "/etc"
	Run      string            // "/run"
	Boot     string            // "/boot"

	Agent *status.Snapshot // of the agent that uses the queue; nil: none runs

	Open      sensors.Open                                              // opens a sensor
	Chips     func() ([]gpio.Chip, []error)                             // the GPIO chips
	Clock     func() (now time.Time, quality clock.Quality)             // the wall clock
	Systemctl func(ctx context.Context, args ...string) (string, error) // runs systemctl(1)

	// LookUp returns the addresses of a server's host and the duration of the lookup, including
	// all name servers that were asked.
	LookUp func(ctx context.Context, server *url.URL) (addrs []netip.Addr, took time.Duration, err error)

	broken   map[string]bool // sensors for which a check has found a fault
	unusable bool            // a file of the connection cannot be used; checkSecrets has reported it
	// Only checks write links, notes, broken and unusable. They need no lock, because checks run
	// one after the other.
	links []*link  // one per server; created by the first check of the network
	notes []string // of the check that runs: see Result.Note
}

// NewSite returns the site of this machine. agent is the answer of a running agent; nil:
// none runs. NewSite opens nothing. The caller has to call Close after the last check.
func NewSite(cfg config.Config, hw *drivers.Hardware, agent *status.Snapshot) *Site {
	keeper := cfg.Uplink.Clock
	if keeper == nil {
		keeper = clock.NewTimekeeper(cfg.Clock)
	}
	return &Site{
		Config: cfg, Hardware: hw, Etc: "/etc", Run: "/run", Boot: "/boot", Agent: agent,
		Open:  hw.Open,
		Chips: func() ([]gpio.Chip, []error) { return gpio.Chips(&hw.Host) },
		Clock: func() (time.Time, clock.Quality) {
			at := keeper.Now()
			return time.UnixMilli(at.Unix), at.Clock
		},
		Systemctl: systemctl,
		LookUp: func(ctx context.Context, server *url.URL) ([]netip.Addr, time.Duration, error) {
			began := time.Now()
			addrs, err := cfg.Uplink.LookUp(ctx, server)
			return addrs, time.Since(began), err
		},
	}
}

// systemctl returns the output of systemctl(1) without surrounding white space. The error
// is exec.ErrNotFound on a machine without systemd.
func systemctl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", args...).Output()
	return strings.TrimSpace(string(out)), err
}

// markBroken notes that a sensor has a fault, so that no later check reports it again. The
// first fault is the cause, and later ones mostly follow from it.
func (s *Site) markBroken(sensor string) {
	if s.broken == nil {
		s.broken = map[string]bool{}
	}
	s.broken[sensor] = true
}

// titlesOf returns the display names of sensors, streams and outputs in brackets, for those
// that have one. The remedies use the identifiers, because commands take these.
func (s *Site) titlesOf(names []string) string {
	titles := map[string]string{}
	for _, st := range s.Config.Uplink.Streams {
		titles[st.Name] = st.Title
	}
	for _, spec := range s.Config.Sensors {
		if spec.Title != "" {
			titles[spec.Name] = spec.Title
		}
	}
	var said []string
	for _, name := range names {
		if title := titles[name]; title != "" {
			said = append(said, name+" is "+title)
		}
	}
	if said == nil {
		return ""
	}
	return " (" + strings.Join(said, ", ") + ")"
}

// claims returns the lines, addresses and devices that each sensor and output uses
// exclusively, by its name. What is simulated has none. Their form is that of package
// drivers: "GPIO17", "i2c-1 0x76", "w1 28-00000abcdef0".
func (s *Site) claims() map[string][]string {
	all := map[string][]string{}
	add := func(name string, options any) {
		if c, ok := options.(drivers.Claimer); ok {
			all[name] = append(all[name], c.Claims()...)
		}
	}
	for _, spec := range s.Config.Sensors {
		add(spec.Name, spec.Options)
	}
	for _, spec := range s.Config.Outputs {
		add(spec.Stream.Name, spec.Line)
	}
	return all
}
