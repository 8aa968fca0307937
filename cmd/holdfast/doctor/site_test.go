package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"

	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// A bench is a healthy site in a folder: a Raspberry Pi with a door, a climate sensor and a
// thermometer. Tests add one fault to it.
type bench struct {
	t   *testing.T
	dir string
	*Site
}

const benchConfig = `client_id: porch
mqtt: {SERVER}
queue: {path: "DIR/state/queue.db"}
sensors:
  door: {kind: contact, gpio: GPIO17, class: door}
  room: {kind: aht20, i2c: "1"}
  freezer: {kind: w1, id: 28-0316a2797bff}
  meter: {kind: modbus, device: /dev/ttyUSB0, registers: {voltage: {address: 0}}}
`

// healthy returns a bench whose broker runs inside the agent.
func healthy(t *testing.T) *bench { return healthyWith(t, "server: embedded") }

// healthyWith returns a bench with these keys under mqtt.
func healthyWith(t *testing.T, mqtt string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	for path, text := range map[string]string{
		"dev/i2c-1":                              "",
		"dev/ttyUSB0":                            "",
		"sys/bus/w1/devices/w1_bus_master1/x":    "",
		"sys/bus/w1/devices/28-0316a2797bff/x":   "",
		"sys/class/watchdog/watchdog0/state":     "active\n",
		"sys/class/hwmon/hwmon1/name":            "rpi_volt\n",
		"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
		"sys/bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled": "0\n",
		"sys/module/pinctrl_bcm2835/parameters/persist_gpio_outputs":               "Y\n",
		"sys/block/mmcblk0/device/life_time":                                       "0x01 0x02\n",
		"sys/block/mmcblk0/device/pre_eol_info":                                    "0x01\n",
		"proc/self/mountinfo": "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n" +
			"23 22 0:21 / /proc rw shared:2 - proc proc rw\n",
		"etc/timezone":         "Etc/UTC\n",
		"zoneinfo/Etc/UTC":     "TZif2",
		"run/systemd/system/x": "",
		"state/x":              "",
	} {
		b.plant(path, text)
	}
	b.link("zoneinfo/Etc/UTC", "etc/localtime")
	b.configure(mqtt)
	return b
}

// configure reads the configuration with keys under mqtt.
func (b *bench) configure(mqtt string) {
	b.t.Helper()
	text := strings.NewReplacer("DIR", b.dir, "SERVER", mqtt).Replace(benchConfig)
	cfg, err := config.Parse("porch.yaml", []byte(text))
	if err != nil {
		b.t.Fatal(err)
	}
	cfg.Uplink.Clock = clock.NewTimekeeper(clock.TrustAlways)
	hw := &drivers.Hardware{Host: host.Host{Dev: b.path("dev"), Sys: b.path("sys"), Proc: b.path("proc")}}
	b.Site = NewSite(cfg, hw, nil)
	b.Etc, b.Run, b.Boot = b.path("etc"), b.path("run"), b.path("boot")
	b.Chips = func() ([]gpio.Chip, []error) { return []gpio.Chip{soc()}, nil }
	b.Open = func(_ context.Context, spec sensors.Spec) (sensors.Sensor, error) { return steady{spec}, nil }
	b.Clock = func() (time.Time, clock.Quality) { return time.Now(), clock.Synced }
	b.Systemctl = func(_ context.Context, args ...string) (string, error) {
		return systemdSays("loaded", "active", "enabled", "success"), nil
	}
}

func systemdSays(load, active, file, result string) string {
	return fmt.Sprintf("LoadState=%s\nActiveState=%s\nUnitFileState=%s\nResult=%s", load, active, file, result)
}

// steady is a sensor that can always be read.
type steady struct{ spec sensors.Spec }

func (s steady) Next(context.Context) (all []sensors.Sample, err error) {
	for _, st := range s.spec.Streams {
		all = append(all, sensors.Sample{Quantity: st.Quantity.Name})
	}
	return all, nil
}

func (s steady) Close() error { return nil }

// soc is the SoC's GPIO chip of a Pi 4 with every line free.
func soc() gpio.Chip {
	c := gpio.Chip{Path: "/dev/gpiochip0", Name: "gpiochip0", Label: "pinctrl-bcm2711"}
	for n := range 58 {
		c.Lines = append(c.Lines, gpio.LineInfo{Name: fmt.Sprint("GPIO", n), Flags: uapi.LineFlagV2Input})
	}
	return c
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) plant(name, text string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		b.t.Fatal(err)
	}
	write(b.t, b.path(name), text)
}

func (b *bench) link(target, name string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Symlink(b.path(target), b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) remove(name string) {
	b.t.Helper()
	if err := os.RemoveAll(b.path(name)); err != nil {
		b.t.Fatal(err)
	}
}

// mounted adds a line to mountinfo.
func (b *bench) mounted(kind, at, options string) {
	b.plant("proc/self/mountinfo", "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n"+
		fmt.Sprintf("40 22 0:44 / %s rw,relatime - %s source %s\n", strings.ReplaceAll(at, " ", `\040`), kind, options))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// findings runs every check of a site.
func (b *bench) findings() (all []Finding) {
	b.t.Helper()
	defer b.Close()
	Run(b.t.Context(), b.Site, func(r Result) { all = append(all, r.Findings...) })
	return all
}
