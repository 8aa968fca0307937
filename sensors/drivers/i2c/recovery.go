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

// If the Pi is reset in the middle of a byte, the part that was sending it holds SDA low and
// waits for more clocks. Nothing works on its bus any more. The recovery tries in this order: to
// open the bus again; to send nine clocks, if the bus is i2c-gpio, and make the kernel set the
// adapter up again.

const (
	// One transfer can time out on a healthy bus, if a part stretches the clock. Three in a row
	// without an answer of any part mean that the bus is stuck.
	maxFailures = 3

	// The pause between two rounds of repair doubles from a minute to an hour, because setting an
	// adapter up again also unbinds the kernel's drivers of parts on the bus.
	minRepairPause = time.Minute
	maxRepairPause = time.Hour
)

// busHealth counts the failures of a bus. It is kept while the file is closed and opened again.
// It is safe for concurrent use.
type busHealth struct {
	mu        sync.Mutex // guards the rest
	failures  int        // since the bus last answered, or since the last round of repair
	began     time.Time  // time of the first failure
	rounds    int        // of repair since the bus last answered; 0: it works
	next      time.Time  // no round of repair before this
	did       string     // what the last round did, for the event "recovered"
	reported  string     // the last fault event, so that it is sent once
	repairing bool       // a round is running: the bus must not be opened
}

func (b *busHealth) underRepair() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.repairing
}

// failure counts a transfer that failed because the bus may be stuck. It returns the number of
// the round of repair that is due, or 0.
func (b *busHealth) failure(now time.Time) (round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 && b.rounds == 0 {
		b.began = now
	}
	// If the round is not due yet, keep the count: the round then starts as soon as it is due.
	if b.failures++; b.failures < maxFailures || now.Before(b.next) {
		return 0
	}
	b.failures = 0
	if b.rounds++; b.rounds > 1 { // no pause after the first, which only opens the file again
		b.next = now.Add(min(minRepairPause<<min(b.rounds-2, 10), maxRepairPause))
	}
	return b.rounds
}

// success records that the bus works. It reports whether the bus was stuck, for how long, and
// what the last round of repair did.
func (b *busHealth) success(now time.Time) (did string, after time.Duration, wedged bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	did, after, wedged = b.did, now.Sub(b.began), b.rounds > 0
	b.failures, b.rounds, b.next, b.did, b.reported = 0, 0, time.Time{}, "", ""
	return did, after, wedged
}

// report records the result of a round, and returns whether it differs from the last one that
// was reported.
func (b *busHealth) report(did string, err error) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := fmt.Sprint(did, err)
	news = text != b.reported
	b.did, b.reported = did, text
	return news
}

// zeros tracks whether the reads of one measurement were all zeros. If SDA is held low, i2c-gpio
// reads zeros and an acknowledge without an error (i2c-algo-bit does not detect a lost
// arbitration).
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

// all reports whether there were reads, and all of them read zeros. Writes do not count.
func (z *zeros) all() bool { return z.reads > 0 && !z.other }

func notZero(r []byte) bool { return slices.ContainsFunc(r, func(c byte) bool { return c != 0 }) }

// observe records whether a transfer shows that the bus works. The caller holds the token. A
// missing acknowledge proves that SDA is not held low; an acknowledged write proves nothing.
func (b *sharedBus) observe(ctx context.Context, err error, r []byte) {
	switch {
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EBUSY):
		b.recordFailure(ctx, err)
	case errors.Is(err, syscall.EREMOTEIO), errors.Is(err, syscall.ENXIO), err == nil && notZero(r):
		// no acknowledge (drivers use two codes for it), or a byte with a one in it
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

// recordFailure counts a failure, and repairs the bus if a round is due. The caller holds the
// token of the bus.
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

// repair makes every user open the bus again. From the second round on it first makes the kernel
// set the adapter up again. did says what it did.
func (b *sharedBus) repair(round int) (did string, err error) {
	b.mu.Lock()
	// Every user fails at its next transfer, and then opens its part and the bus again.
	b.markGoneLocked(fmt.Errorf("%v did not answer and is opened again", b))
	if round == 1 {
		b.mu.Unlock()
		return "opened again", nil
	}
	err = b.closeFileLocked() // first, because the kernel waits for it before it removes the adapter
	b.mu.Unlock()
	if err != nil || !b.buses.setRepairing(b, true) {
		return "", err
	}
	defer b.buses.setRepairing(b, false)
	return b.buses.rebind(b.host, b.current.String())
}

// setRepairing forbids or allows opening a bus. It returns false if somebody has already opened
// the bus again.
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
