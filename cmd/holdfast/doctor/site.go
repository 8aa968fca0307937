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

// A Site is the machine and the configuration that are looked at. Tests set its
// folders to trees of their own, and its functions to what a machine would say.
// A site is used by one run, one check after the other.
//
// The methods are many because each check needs the same folders, functions and notes:
// they are the helpers of the checks, in the file of the check that needs them.
type Site struct {
	Config   config.Config
	Hardware *drivers.Hardware // its Dev, Sys and Proc are the roots
	Etc      string            // "/etc"
	Run      string            // "/run"
	Boot     string            // "/boot"

	Agent *status.Snapshot // of the agent that has the queue; nil: none runs

	Open      sensors.Open                                              // opens a sensor
	Chips     func() ([]gpio.Chip, []error)                             // the GPIO chips
	Clock     func() (now time.Time, quality clock.Quality)             // the wall clock
	Systemctl func(ctx context.Context, args ...string) (string, error) // what systemd says

	// LookUp returns the addresses of a server's host, and how long that took. The time
	// is measured around the whole lookup, with all name servers that were asked.
	LookUp func(ctx context.Context, server *url.URL) (addrs []netip.Addr, took time.Duration, err error)

	broken map[string]bool // sensors of which a check has found a fault
	// links, notes and broken are written by checks, and need no lock: checks run in turn.
	links []*link  // to each server; made by the first check of the network
	notes []string // of the check that runs: see Result.Note
}

// NewSite is the machine that the program runs on. agent is what an agent that runs has
// answered; nil: none runs. It opens nothing. Close has to be called after the last
// check.
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

// systemctl returns what systemctl(1) prints, without the blanks around it. The error
// is exec.ErrNotFound on a machine without systemd.
func systemctl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", args...).Output()
	return strings.TrimSpace(string(out)), err
}

// blame notes that a sensor has a fault, so that no later check names it again. The
// first fault is the cause, and later ones mostly follow from it.
func (s *Site) blame(sensor string) {
	if s.broken == nil {
		s.broken = map[string]bool{}
	}
	s.broken[sensor] = true
}

// called says in brackets what people call things, where they have given them names; names
// are those of sensors, streams and outputs. Mends have identifiers, which commands take.
func (s *Site) called(names []string) string {
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

// claims are the lines, addresses and devices that sensors and outputs have for themselves,
// by their names. What is simulated has none. Their form is that of the package drivers:
// "GPIO17", "i2c-1 0x76", "w1 28-00000abcdef0".
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
