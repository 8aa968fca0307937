package drivers

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
	strikesOut   = 3 // transfers in a row that say that the bus is wedged
	repairPause  = time.Minute
	longestPause = time.Hour
)

// busHealth is what is known of a bus whose parts may come and go.
type busHealth struct {
	mu      sync.Mutex
	strikes int       // since it last answered
	began   time.Time // of the first of them
	rounds  int       // of repair since it last answered
	next    time.Time // when the next round may be
	did     string    // in the last round
	told    string    // of it
	repair  bool      // under way: nobody may open the bus
}

func (b *busHealth) underRepair() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.repair
}

// strike counts a transfer that says that the bus is wedged. It returns the
// number of the round of repair that is due, or 0.
func (b *busHealth) strike(now time.Time) (round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.strikes == 0 && b.rounds == 0 {
		b.began = now
	}
	if b.strikes++; b.strikes < strikesOut || now.Before(b.next) {
		return 0
	}
	b.strikes = 0
	if b.rounds++; b.rounds > 1 { // the first costs nothing
		b.next = now.Add(min(repairPause<<min(b.rounds-2, 10), longestPause))
	}
	return b.rounds
}

// answers takes note that the bus works. It returns what was done last if it had
// been wedged, and for how long it was.
func (b *busHealth) answers(now time.Time) (did string, after time.Duration, wedged bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	did, after, wedged = b.did, now.Sub(b.began), b.rounds > 0
	b.strikes, b.rounds, b.next, b.did, b.told = 0, 0, time.Time{}, "", ""
	return did, after, wedged
}

// report keeps what a round did, and reports whether that is news.
func (b *busHealth) report(did string, err error) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := fmt.Sprint(did, err)
	news = text != b.told
	b.did, b.told = did, text
	return news
}

// zeros are the reads of one measurement. A held SDA reads as zeros, and as an
// acknowledge too: a bus of i2c-gpio reports no error (i2c-algo-bit does not look
// for a lost arbitration).
type zeros struct {
	reads int
	other bool // a byte was not 0, or a transfer failed
}

func (z *zeros) see(err error, r []byte) {
	if len(r) > 0 {
		z.reads++
	}
	z.other = z.other || err != nil || notZero(r)
}

func (z *zeros) all() bool { return z.reads > 0 && !z.other }

func notZero(r []byte) bool { return slices.ContainsFunc(r, func(c byte) bool { return c != 0 }) }

// judge takes note of what a transfer says about the bus, whose turn the caller
// has. A part that does not acknowledge proves that SDA can be high; a write that
// is acknowledged proves nothing.
func (b *sharedBus) judge(ctx context.Context, err error, r []byte) {
	switch {
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EBUSY):
		b.struck(ctx, err)
	case errors.Is(err, syscall.EREMOTEIO), errors.Is(err, syscall.ENXIO), err == nil && notZero(r):
		did, after, wedged := b.health.answers(time.Now())
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

// silent takes note of a measurement that failed on nothing but zeros.
func (b *sharedBus) silent(ctx context.Context, addr uint16) {
	if _, err := b.take(ctx, addr); err != nil {
		return
	}
	defer b.done()
	b.struck(ctx, errZeros)
}

// struck counts a strike and repairs the bus where it is time to. The caller has
// the bus's turn.
func (b *sharedBus) struck(ctx context.Context, why error) {
	round := b.health.strike(time.Now())
	if round == 0 {
		return
	}
	did, err := b.repair(round)
	if !b.health.report(did, err) {
		return
	}
	details := map[string]any{"bus": b.String(), "error": fmt.Sprintf("%d transfers in a row: %v (is a part holding the bus low?)", strikesOut, why)}
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
	b.leaveLocked(fmt.Errorf("%v did not answer and is opened anew", b))
	if round == 1 {
		b.mu.Unlock()
		return "opened anew", nil
	}
	err = b.shutLocked() // before the adapter goes: the kernel waits for it
	b.mu.Unlock()
	if err != nil || !b.hw.buses.shutOut(b, true) {
		return "", err
	}
	defer b.hw.buses.shutOut(b, false)
	return b.hw.rebind(b.now.String())
}

// shutOut has nobody open a bus while it is repaired. It is false if somebody
// has opened it again already.
func (bs *buses) shutOut(b *sharedBus, out bool) bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if other := bs.open[b.path]; out && other != nil && other != b {
		return false
	}
	b.health.mu.Lock()
	defer b.health.mu.Unlock()
	b.health.repair = out
	return true
}
