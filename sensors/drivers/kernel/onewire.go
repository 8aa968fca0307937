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

// thermometers are the families that the kernel's w1_therm reads, with a part of each.
var thermometers = map[string]string{
	FamilyDS18S20: "DS18S20",
	"22":          "DS1822",
	"28":          "DS18B20",
	FamilyDS1825:  "DS1825",
	"42":          "DS28EA00",
}

// oneWireID is the family and the serial number of a part on a 1-wire bus, as
// the kernel writes it.
var oneWireID = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{12}$`)

// IsOneWireID reports whether a name in /sys/bus/w1/devices is a part's, and not a
// master's.
func IsOneWireID(name string) bool { return oneWireID.MatchString(name) }

// IsOneWireThermometer reports whether an id is of a part that w1_therm reads.
func IsOneWireThermometer(id string) bool {
	family, _, _ := strings.Cut(id, "-")
	return IsOneWireID(id) && thermometers[family] != ""
}

// IsDS2438 reports whether an id is of a part that w1_ds2438 reads.
func IsDS2438(id string) bool { return IsOneWireID(id) && strings.HasPrefix(id, FamilyDS2438+"-") }

// OneWireBuses are the 1-wire buses in use, by the names of their masters. The zero
// value is ready.
type OneWireBuses struct {
	mu    sync.Mutex
	buses map[string]*OneWireBus // guarded by mu
}

// A OneWireBus lets one part measure at a time. The kernel holds the bus for the 750 ms
// of a conversion where a part takes its supply from the data line; parts that
// waited for that in the kernel would use up the time of their calls there, and
// each would hold a thread.
type OneWireBus struct {
	name  string
	token chan struct{} // has a value in it while a part has the bus

	mu    sync.Mutex // guards what follows
	id    string     // who has the bus; empty: nobody
	since time.Time  // since when
}

// maxOneWireHold is how long one part may have the bus. A conversion that is tried five
// times takes four seconds.
const maxOneWireHold = 10 * time.Second

// Bus is the bus of a part, by the part's folder in sysfs.
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

// Acquire waits until the part may have the bus, as long as the parts before it come
// back. The wait does not count against the time of the sampler's call. Each Acquire
// without an error takes one Release.
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

// holder is who has the bus, and for how long it may still have it.
func (b *OneWireBus) holder() (id string, left time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.id == "" {
		return "", maxOneWireHold // it has just been given back, or taken
	}
	return b.id, maxOneWireHold - time.Since(b.since)
}

// Release gives the bus back.
func (b *OneWireBus) Release() {
	b.mu.Lock()
	b.id = ""
	b.mu.Unlock()
	<-b.token
}
