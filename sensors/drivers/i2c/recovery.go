package i2c

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
)

// A part that lost count of the clock in the middle of a byte, as after a reset
// of the Pi, holds SDA low and waits for clocks that nobody sends: nothing works
// on its bus any more. What is tried then, in this order, is to open the bus
// anew, nine clocks where the bus is i2c-gpio, and to have the kernel set the
// adapter up again.

const (
	// One transfer can time out on a sound bus, when a part stretches the clock. Three
	// in a row without an answer of any part mean that the bus is wedged.
	maxFailures = 3

	// The pause between two rounds of repair doubles from a minute to an hour: setting
	// an adapter up again also takes the kernel's own drivers off the bus.
	minRepairPause = time.Minute
	maxRepairPause = time.Hour
)

// busHealth is what is known of a bus while its file is closed and opened again. It is
// safe for concurrent use.
type busHealth struct {
	mu        sync.Mutex // guards the rest
	failures  int        // since the bus last answered, or since the last round of repair
	began     time.Time  // when the first of them was
	rounds    int        // of repair since the bus last answered; 0: it works
	next      time.Time  // no round of repair before this
	did       string     // what the last round did, for the event when the bus has recovered
	reported  string     // what the last fault event said, so that it is said once
	repairing bool       // a round is under way: nobody may open the bus
}

func (b *busHealth) underRepair() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.repairing
}

// failure counts a transfer that says that the bus is wedged. It returns the
// number of the round of repair that is due, or 0.
func (b *busHealth) failure(now time.Time) (round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 && b.rounds == 0 {
		b.began = now
	}
	// A round that is not due yet leaves the count as it is, so that it comes as soon as
	// it is.
	if b.failures++; b.failures < maxFailures || now.Before(b.next) {
		return 0
	}
	b.failures = 0
	if b.rounds++; b.rounds > 1 { // the first costs nothing
		b.next = now.Add(min(minRepairPause<<min(b.rounds-2, 10), maxRepairPause))
	}
	return b.rounds
}

// success records that the bus works. It returns what was done last if it had
// been wedged, and for how long it was.
func (b *busHealth) success(now time.Time) (did string, after time.Duration, wedged bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	did, after, wedged = b.did, now.Sub(b.began), b.rounds > 0
	b.failures, b.rounds, b.next, b.did, b.reported = 0, 0, time.Time{}, "", ""
	return did, after, wedged
}

// report records what a round did, and whether it has to be said: the same result again
// does not.
func (b *busHealth) report(did string, err error) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := fmt.Sprint(did, err)
	news = text != b.reported
	b.did, b.reported = did, text
	return news
}

// zeros are the reads of one measurement. A held SDA reads as zeros, and as an
// acknowledge too: a bus of i2c-gpio reports no error (i2c-algo-bit does not look
// for a lost arbitration).
type zeros struct {
	reads int  // transfers that read something
	other bool // a byte was not 0, or a transfer failed
}

func (z *zeros) add(err error, r []byte) {
	if len(r) > 0 {
		z.reads++
	}
	z.other = z.other || err != nil || notZero(r)
}

// all reports whether there were reads, and all of zeros. What was only written says
// nothing about the bus.
func (z *zeros) all() bool { return z.reads > 0 && !z.other }

func notZero(r []byte) bool { return slices.ContainsFunc(r, func(c byte) bool { return c != 0 }) }

// observe records what a transfer says about the bus. The caller has the token of the
// bus. A part that does not acknowledge proves that SDA can be high; a write that is
// acknowledged proves nothing.
func (b *sharedBus) observe(ctx context.Context, err error, r []byte) {
	switch {
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EBUSY):
		b.recordFailure(ctx, err)
	case errors.Is(err, syscall.EREMOTEIO), errors.Is(err, syscall.ENXIO), err == nil && notZero(r):
		// no acknowledge, by the two names that drivers have for it, or a byte with a one
		did, after, wedged := b.health.success(time.Now())
		if !wedged {
			return
		}
		details := map[string]any{"bus": b.String(), "after_s": int(after.Seconds())}
		if did != "" {
			details["tried"] = did
		}
		sensors.Notice(ctx, sensors.NewEvent("recovered", details))
	}
}

var errZeros = errors.New("reads nothing but zeros")

// recordSilence records a measurement that failed and read nothing but zeros.
func (b *sharedBus) recordSilence(ctx context.Context, addr uint16) {
	if _, err := b.begin(ctx, addr); err != nil {
		return
	}
	defer b.end()
	b.recordFailure(ctx, errZeros)
}

// recordFailure counts a failure and repairs the bus when that is due. The caller has
// the token of the bus.
func (b *sharedBus) recordFailure(ctx context.Context, why error) {
	round := b.health.failure(time.Now())
	if round == 0 {
		return
	}
	did, err := b.repair(round)
	if !b.health.report(did, err) {
		return
	}
	text := fmt.Sprintf("%d transfers in a row: %v (is a part holding the bus low?)", maxFailures, why)
	details := map[string]any{"bus": b.String(), "error": text}
	if did != "" {
		details["tried"] = did
	}
	if err != nil {
		details["repair"] = err.Error()
	}
	sensors.Notice(ctx, sensors.NewEvent("fault", details))
}

// repair has every user open the bus anew, and from the second round on has the
// kernel make it anew in between. It says what it did.
func (b *sharedBus) repair(round int) (did string, err error) {
	b.mu.Lock()
	// Every user fails at its next transfer and opens its part again, and with it the
	// bus.
	b.markGoneLocked(fmt.Errorf("%v did not answer and is opened anew", b))
	if round == 1 {
		b.mu.Unlock()
		return "opened anew", nil
	}
	err = b.closeFileLocked() // before the adapter goes: the kernel waits for it
	b.mu.Unlock()
	if err != nil || !b.buses.setRepairing(b, true) {
		return "", err
	}
	defer b.buses.setRepairing(b, false)
	return b.buses.rebind(b.host, b.current.String())
}

// setRepairing keeps everybody from opening a bus while it is repaired, and lets them
// again. It is false if somebody has opened the bus again already.
func (bs *Buses) setRepairing(b *sharedBus, on bool) bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if other := bs.open[b.path]; on && other != nil && other != b {
		return false
	}
	b.health.mu.Lock()
	defer b.health.mu.Unlock()
	b.health.repairing = on
	return true
}
