package kernel

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// Families of the parts on a 1-wire bus: the first two digits of their ids.
const (
	FamilyDS18S20 = "10"
	FamilyDS2438  = "26" // a battery monitor, which w1_ds2438 reads
	FamilyDS1825  = "3b" // and the MAX31850, which has a thermocouple
)

// thermometers are the families that the kernel's w1_therm supports, with a part of each.
var thermometers = map[string]string{
	FamilyDS18S20: "DS18S20",
	"22":          "DS1822",
	"28":          "DS18B20",
	FamilyDS1825:  "DS1825",
	"42":          "DS28EA00",
}

// oneWireID matches the id of a part on a 1-wire bus in sysfs: family and serial number.
var oneWireID = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{12}$`)

// IsOneWireID reports whether a name in /sys/bus/w1/devices is that of a part, not of a master.
func IsOneWireID(name string) bool { return oneWireID.MatchString(name) }

// IsOneWireThermometer reports whether the part with an id is read by w1_therm.
func IsOneWireThermometer(id string) bool {
	family, _, _ := strings.Cut(id, "-")
	return IsOneWireID(id) && thermometers[family] != ""
}

// IsDS2438 reports whether the part with an id is read by w1_ds2438.
func IsDS2438(id string) bool { return IsOneWireID(id) && strings.HasPrefix(id, FamilyDS2438+"-") }

// OneWireBuses are the 1-wire buses in use, by the names of their masters. The zero
// value is ready.
type OneWireBuses struct {
	mu    sync.Mutex
	buses map[string]*OneWireBus // guarded by mu
}

// A OneWireBus lets one part measure at a time. If a part takes its supply from the data line, the
// kernel locks the bus for the 750 ms of a conversion. Other parts must not wait for this lock in
// the kernel: it would use up the time of their calls, and block a thread for each.
type OneWireBus struct {
	name  string
	token chan struct{} // holds a value while a part has the bus

	mu    sync.Mutex // guards the fields below
	id    string     // the part that has the bus; empty: none
	since time.Time  // since when it has the bus
}

// maxOneWireHold is how long one part may hold the bus. Five attempts of a conversion take four
// seconds.
const maxOneWireHold = 10 * time.Second

// Bus returns the bus of a part, given the part's folder in sysfs.
func (b *OneWireBuses) Bus(dir string) *OneWireBus {
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		dir = path
	}
	name := filepath.Base(filepath.Dir(dir)) // w1_bus_master1
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buses == nil {
		b.buses = map[string]*OneWireBus{}
	}
	if b.buses[name] == nil {
		b.buses[name] = &OneWireBus{name: name, token: make(chan struct{}, 1)}
	}
	return b.buses[name]
}

// Acquire waits until the part gets the bus. It returns an error if one part holds the bus longer
// than maxOneWireHold. The wait does not count as time of the sampler's call. Each Acquire without
// an error needs one Release.
func (b *OneWireBus) Acquire(ctx context.Context, id string) error {
	resume := sensors.Waiting(ctx)
	defer resume()
	for {
		holder, left := b.holder()
		timer := time.NewTimer(left)
		select {
		case b.token <- struct{}{}:
			timer.Stop()
			b.mu.Lock()
			defer b.mu.Unlock()
			b.id, b.since = id, time.Now()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if again, left := b.holder(); again == holder && left <= 0 {
			held := (maxOneWireHold - left).Truncate(time.Second)
			return fmt.Errorf("%s is busy: %s has not returned for %v", b.name, again, held)
		}
	}
}

// holder returns the part that has the bus, and how long it may still hold it.
func (b *OneWireBus) holder() (id string, left time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.id == "" {
		return "", maxOneWireHold // it has just been released or acquired
	}
	return b.id, maxOneWireHold - time.Since(b.since)
}

// Release releases the bus.
func (b *OneWireBus) Release() {
	b.mu.Lock()
	b.id = ""
	b.mu.Unlock()
	<-b.token
}
