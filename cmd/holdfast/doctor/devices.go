package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// deviceChecks check the buses and lines of the configured sensors and outputs, and no
// others: a bus that is switched off is no fault if no sensor needs it.
var deviceChecks = []Check{
	{"gpio", "the GPIO chips and lines of the configured sensors and outputs, and who holds them", true,
		[]*Fault{noChip, chipDenied, chipBroken, noLine, lineHeld}, nil, checkGPIO},
	{"i2c", "the I2C buses and addresses of the configured sensors and outputs, and whether a driver of the kernel " +
		"has them", true,
		[]*Fault{noBus, noOtherBus, busDenied, addressHeld}, nil, checkI2C},
	{"one-wire", "the 1-wire bus and the parts of the configured sensors", true,
		[]*Fault{noOneWire, noPart}, nil, checkOneWire},
	{"serial", "the serial lines of the configured sensors", true,
		[]*Fault{noSerial, serialDenied}, nil, checkSerial},
	{"sensors", "each sensor: it is opened and read once, if no agent runs that has it", false,
		[]*Fault{sensorFails}, (*Site).sensorsInUse, checkSensors},
}

var (
	// Faults of GPIO. Without any chip the program does not run on a board, or it runs in a
	// container that was given no chip.
	noChip = &Fault{Error, "there is no {dev}/gpiochip*, needed by {sensors}",
		gpio.NoChipsHelp}
	// Raspberry Pi OS gives the devices to the groups gpio and i2c. A process gets a new group
	// only when it starts, so the remedy includes a restart.
	chipDenied = &Fault{Error, "user {user} may not open {file}",
		"sudo usermod -aG gpio {user}, then start holdfast again"}
	// A warning: the sensors may be on another chip. Each line is looked up below.
	chipBroken = &Fault{Warning, "{text}", "see dmesg for the driver of this GPIO chip"}
	noLine     = &Fault{Error, "{sensor}: {pin}: {text}",
		"holdfast scan lists the lines of this machine: correct gpio of {sensor}"}
	// The kernel gives a line to one consumer at a time.
	lineHeld = &Fault{Error, "{sensor}: {pin} is held by {holder}",
		"stop what holds it (gpioinfo names it; a dtoverlay goes from config.txt), or wire {sensor} to another line"}

	// Faults of I2C. raspi-config switches i2c-1; other buses are overlays.
	noBus = &Fault{Error, "I2C is switched off: there is no {file}, needed by {sensors}",
		"sudo raspi-config nonint do_i2c 0, then restart (dtparam=i2c_arm=on and the module i2c-dev)"}
	noOtherBus = &Fault{Error, "there is no {file}, needed by {sensors}",
		"add the bus to config.txt (dtoverlay=i2c-gpio,bus=N, or dtparam), or correct i2c; ls {dev}/i2c-* lists " +
			"the buses"}
	busDenied = &Fault{Error, "user {user} may not open {file}",
		"sudo usermod -aG i2c {user}, then start holdfast again"}
	// The kernel refuses an address that one of its drivers uses, with EBUSY. The same part can
	// be read through that driver.
	addressHeld = &Fault{Error, "{sensor}: the kernel's driver {driver} has {place}",
		"remove its dtoverlay from config.txt and restart, or read the part with kind hwmon or iio"}

	// Faults of 1-wire.
	noOneWire = &Fault{Error, "1-wire is switched off: there is no bus in {folder}, needed by {sensors}",
		"add dtoverlay=w1-gpio to config.txt (sudo raspi-config nonint do_onewire 0), then restart"}
	// If a part is wired and not detected, mostly the pull-up resistor is missing.
	noPart = &Fault{Error, "{sensor}: {id} is not on the 1-wire bus, which has {there}",
		"check the wire and its resistor of 4.7 kΩ from data to 3.3 V, or correct id: holdfast scan lists the parts"}

	// Faults of serial lines. The unit of the service hides them by default: then the kernel
	// answers EPERM.
	noSerial = &Fault{Error, "there is no {file}, needed by {sensors}",
		"plug the adapter in, or correct device: ls {dev}/serial/by-id lists the adapters"}
	serialDenied = &Fault{Error, "user {user} may not open {file}",
		"sudo usermod -aG dialout {user}, then start holdfast again; for the service, add the two lines of " +
			"docs/install.md to its unit"}

	// A sensor that cannot be read although the checks above found nothing.
	sensorFails = &Fault{Error, "{sensor} cannot be read: {text}",
		"check its wiring and supply and its options in the file, then try holdfast read {sensor}"}
)

// checkGPIO looks up each configured line. A line that our own agent holds is no fault.
//
// It reads the state of the lines and requests none, so nothing changes on a wire. If no
// chip can be opened, all sensors with a line are marked as broken, and there is one
// finding for all of them.
func checkGPIO(_ context.Context, s *Site) (found []Finding) {
	pins := map[string]gpio.Pin{} // by sensor
	for name, claims := range s.claims() {
		for _, c := range claims {
			var p gpio.Pin
			if p.UnmarshalText([]byte(c)) == nil {
				pins[name] = p
			}
		}
	}
	if len(pins) == 0 {
		return nil
	}
	chips, broken := s.Chips()
	for _, err := range broken {
		var at *fs.PathError
		switch {
		case errors.Is(err, syscall.EACCES) && errors.As(err, &at):
			found = append(found, chipDenied.at("user", host.UserName(), "file", at.Path))
		case errors.Is(err, fs.ErrNotExist) && len(chips) == 0:
			found = append(found, noChip.at("dev", s.Hardware.Dev, "sensors", names(pins)))
		default:
			found = append(found, chipBroken.at("text", err))
		}
	}
	for name, pin := range pins {
		if len(broken) > 0 && len(chips) == 0 {
			s.markBroken(name)
			continue
		}
		if f, bad := s.checkLine(name, pin, chips); bad {
			s.markBroken(name)
			found = append(found, f)
		}
	}
	return sorted(found)
}

// checkLine looks up one pin, as the driver would, and who holds it. bad is false for a
// line that is free or ours; then f has no meaning.
func (s *Site) checkLine(name string, pin gpio.Pin, chips []gpio.Chip) (f Finding, bad bool) {
	at, err := gpio.Find(&s.Hardware.Host, pin, chips)
	if err != nil {
		return noLine.at("sensor", name, "pin", pin, "text", err), true
	}
	line := at.Lines[at.Offset]
	if !line.Used() || s.ours(line.Consumer) {
		return f, false
	}
	holder := fmt.Sprintf("%q", line.Consumer)
	if line.Consumer == "" {
		holder = "a program or driver that gives no name"
	}
	return lineHeld.at("sensor", name, "pin", pin, "holder", holder), true
}

// ours reports whether a consumer of a line is this process or the running agent: our
// consumer name is holdfast@PID. Only the process ID is compared, because the binary may
// have any name.
func (s *Site) ours(consumer string) bool {
	pid := os.Getpid()
	if s.Agent != nil {
		pid = s.Agent.Node.PID
	}
	return strings.HasSuffix(consumer, fmt.Sprint("@", pid))
}

// checkI2C checks the device files of the buses, and which kernel driver has an address. It
// sends nothing on a bus. The claim of a sensor on I2C is "i2c-1 0x76"; anything after the
// address depends on the part.
func checkI2C(_ context.Context, s *Site) (found []Finding) {
	buses := map[string]map[string]bool{} // the sensors on each bus
	for name, claims := range s.claims() {
		for _, c := range claims {
			bus, rest, ok := strings.Cut(c, " ")
			if !ok || !strings.HasPrefix(bus, "i2c-") {
				continue
			}
			if buses[bus] == nil {
				buses[bus] = map[string]bool{}
			}
			buses[bus][name] = true
			address, _, _ := strings.Cut(rest, " ")
			if driver := s.kernelDriver(bus, address); driver != "" {
				s.markBroken(name)
				found = append(found, addressHeld.at("sensor", name, "driver", driver, "place", bus+" "+address))
			}
		}
	}
	for bus, users := range buses {
		if f, bad := s.checkBus(bus, users); bad {
			for name := range users {
				s.markBroken(name)
			}
			found = append(found, f)
		}
	}
	return sorted(found)
}

// checkBus opens a bus for writing, as a driver does. This tests the rights, whatever the
// mode of the device file is. users are the names of the sensors on the bus.
func (s *Site) checkBus(bus string, users map[string]bool) (f Finding, bad bool) {
	path := filepath.Join(s.Hardware.Dev, bus)
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_CLOEXEC, 0)
	switch {
	case err == nil:
		file.Close()
	case errors.Is(err, syscall.EACCES):
		return busDenied.at("user", host.UserName(), "file", path), true
	case errors.Is(err, fs.ErrNotExist) && bus == "i2c-1":
		return noBus.at("file", path, "sensors", names(users)), true
	case errors.Is(err, fs.ErrNotExist):
		return noOtherBus.at("file", path, "sensors", names(users), "dev", s.Hardware.Dev), true
	}
	return f, false // the check of the sensors reports any other fault of the bus
}

// kernelDriver returns the kernel driver that has an address, empty if there is none. The
// address has the form of a claim: "0x76". The name of the device in sysfs is 1-0076: the
// bus, and the address in four digits.
func (s *Site) kernelDriver(bus, address string) string {
	device := strings.TrimPrefix(bus, "i2c-") + "-00" + strings.TrimPrefix(address, "0x")
	return host.LinkTarget(filepath.Join(s.Hardware.Sys, "bus", "i2c", "devices", device, "driver"))
}

// checkOneWire looks up the buses and the parts by their names, because reading a value
// would take a second. It looks at all buses together, because a sensor names its part and
// no bus.
func checkOneWire(_ context.Context, s *Site) (found []Finding) {
	ids := map[string]string{} // by sensor
	for name, claims := range s.claims() {
		for _, c := range claims {
			if id, ok := strings.CutPrefix(c, "w1 "); ok {
				ids[name] = id
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	root := filepath.Join(s.Hardware.Sys, "bus", "w1", "devices")
	if masters, _ := filepath.Glob(filepath.Join(root, "w1_bus_master*")); len(masters) == 0 {
		for name := range ids {
			s.markBroken(name)
		}
		return []Finding{noOneWire.at("folder", root, "sensors", names(ids))}
	}
	there := "no part"
	if parts, _ := filepath.Glob(filepath.Join(root, "??-????????????")); len(parts) > 0 {
		there = host.JoinNames(parts)
	}
	for name, id := range ids {
		if _, err := os.Stat(filepath.Join(root, id)); err != nil {
			s.markBroken(name)
			found = append(found, noPart.at("sensor", name, "id", id, "there", there))
		}
	}
	return sorted(found)
}

// checkSerial opens each serial line, as the driver would, to test the rights. The check of
// the sensors reports any other fault.
func checkSerial(_ context.Context, s *Site) (found []Finding) {
	lines := map[string]map[string]bool{} // the sensors on each line
	for _, spec := range s.Config.Sensors {
		if o, ok := spec.Options.(drivers.Sharer); ok {
			if line, _ := o.Shares(); filepath.IsAbs(line) {
				if lines[line] == nil {
					lines[line] = map[string]bool{}
				}
				lines[line][spec.Name] = true
			}
		}
	}
	for line, users := range lines {
		path := filepath.Join(s.Hardware.Dev, strings.TrimPrefix(line, "/dev/"))
		file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			found = append(found, noSerial.at("file", path, "sensors", names(users), "dev", s.Hardware.Dev))
		case errors.Is(err, fs.ErrPermission): // EACCES and EPERM
			found = append(found, serialDenied.at("user", host.UserName(), "file", path))
		case err == nil:
			file.Close()
			continue
		default:
			continue
		}
		for name := range users {
			s.markBroken(name)
		}
	}
	return sorted(found)
}

// readTimeout limits opening and reading of one sensor. A part that warms up takes seconds.
const readTimeout = 15 * time.Second

// sensorsInUse returns why no sensor is read. A second reader would fail on a line that
// only one process may have, or delay the agent on a shared bus.
func (s *Site) sensorsInUse() string {
	if s.Agent != nil {
		return "the agent that runs reads them: see holdfast status"
	}
	return ""
}

// checkSensors reads each sensor once, all at the same time: drivers share a bus without
// help.
//
// It leaves out sensors for which an earlier check has found a fault. After the timeout the
// drivers get one more second to return, because they notice the end of their context and
// then close their devices.
func checkSensors(ctx context.Context, s *Site) (found []Finding) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	type result struct {
		name string
		err  error
	}
	results, waiting := make(chan result, len(s.Config.Sensors)), map[string]bool{}
	for _, spec := range s.Config.Sensors {
		if !s.broken[spec.Name] && spec.Derived == nil { // a derived sensor has no device
			waiting[spec.Name] = true
			go func() { results <- result{spec.Name, s.read(ctx, spec)} }()
		}
	}
	for late := (<-chan time.Time)(nil); len(waiting) > 0; {
		done := ctx.Done()
		if late != nil {
			done = nil
		}
		select {
		case r := <-results:
			delete(waiting, r.name)
			if r.err != nil {
				found = append(found, sensorFails.at("sensor", r.name, "text", r.err))
			}
		case <-done:
			late = time.After(time.Second)
		case <-late: // the driver hangs in the kernel: its goroutine is abandoned
			for name := range waiting {
				found = append(found, sensorFails.at("sensor", name, "text",
					fmt.Sprintf("nothing came in %v", readTimeout)))
			}
			return sorted(found)
		}
	}
	return sorted(found)
}

// read opens a sensor and reads it once; an error in a sample counts as an error. It runs
// in a separate goroutine for each sensor. A sensor that waits for events has no pace: it
// is healthy if it could be opened, even without an event.
func (s *Site) read(ctx context.Context, spec sensors.Spec) (err error) {
	sensor, err := s.Open(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sensor.Close()) }()
	samples, err := sensor.Next(ctx)
	for _, sample := range samples {
		err = errors.Join(err, sample.Err)
	}
	paced, ok := spec.Options.(drivers.Options)
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	case ok && paced.Pace() == 0:
		return nil // it waits for an event, and none happened
	}
	return fmt.Errorf("nothing came in %v", readTimeout)
}

// names joins the keys of a map for a message. They are sorted, so that the output is the
// same each time.
func names[V any](m map[string]V) string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// sorted puts findings in an order that is the same each time.
func sorted(found []Finding) []Finding {
	sort.Slice(found, func(i, j int) bool { return found[i].What < found[j].What })
	return found
}
