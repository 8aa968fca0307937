package drivers

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/debounce"
	"github.com/holdfast-iot/holdfast/sensors/drivers/gpio"
	"github.com/holdfast-iot/holdfast/sensors/drivers/host"
)

// contactOptions are the options of kind contact: a switch, a reed or the
// output of a detector on a GPIO line.
type contactOptions struct {
	// the line: GPIO17, 17, pin11, gpiochip0/17 or line:NAME
	GPIO gpio.Pin `yaml:"gpio"`
	// up, down or off: the resistor inside the SoC
	Pull gpio.Pull `yaml:"pull"`
	contactCommon
}

// newContact returns the defaults: the pull-up is on, for a contact from the line to ground,
// which is the wiring without a resistor.
func newContact() Options {
	return &contactOptions{Pull: gpio.PullUp, contactCommon: newContactCommon()}
}

// Check returns the mistakes in the options.
func (o *contactOptions) Check() []Problem {
	return append(checkLine(o.GPIO, o.Pull), o.check()...)
}

// checkLine returns the mistakes in the options that every kind on a GPIO line has.
func checkLine(pin gpio.Pin, p gpio.Pull) (problems []Problem) {
	if pin.IsZero() {
		problems = append(problems, problem("gpio", "is missing: %s", gpio.PinForms))
	}
	if p != gpio.PullUp && p != gpio.PullDown && p != gpio.PullOff {
		problems = append(problems, problem("pull", "%q is not up, down or off", p))
	}
	return problems
}

// Claims returns the line, in one form for all ways to write it.
func (o *contactOptions) Claims() []string { return []string{o.GPIO.String()} }

// Open requests the line from the kernel until the sensor is closed. The kernel buffers 256
// edges: a contact may bounce while the program waits for a disk.
func (o *contactOptions) Open(_ context.Context, h *Hardware) (sensors.Sensor, error) {
	l, err := h.OpenPin(o.GPIO, gpio.Request{Pull: o.Pull, Buffer: 256})
	if err != nil {
		return nil, err
	}
	return o.open(o.GPIO.String(), l, o.Pull), nil
}

// contact is one open contact.
type contact struct {
	name     string // of the line, for an error
	line     gpio.Line
	highIsOn bool
	filter   *debounce.Filter
	quiet    time.Duration // of the filter

	lastEdge time.Time // when the last edges were read
	pollAt   time.Time // when to read the level again
	edges    [64]gpio.Edge
}

const (
	pollInterval  = 250 * time.Millisecond // between two reads of a line that changes or flaps
	gatherBounces = 5 * time.Millisecond   // the edges of a bouncing contact are read after so long, together

	// idlePollInterval is the time between two reads of a line that announces its edges
	// and is quiet. Edges get lost where others are: in a buffer that overflows, or in an
	// interrupt that serves two. So the line is read every pollInterval until it
	// has been quiet for so long. After that only a fault loses an edge (a chip that was
	// unplugged or reset, an interrupt line that came off), and ten seconds until it
	// is noticed are worth three wake-ups a second for each contact.
	idlePollInterval = 10 * time.Second
)

// Next returns the first level after it was stable for the debounce time, and then each change
// that counts, with the time of its edge. It also polls the level, so that a missed edge only
// delays a change.
func (c *contact) Next(ctx context.Context) ([]sensors.Sample, error) {
	for ctx.Err() == nil {
		if samples := c.samples(); samples != nil {
			return samples, nil
		}
		if err := c.waitEdges(ctx); err != nil {
			return nil, fmt.Errorf("%s: wait for an edge: %w", c.name, err)
		}
		if time.Now().Before(c.pollAt) {
			continue
		}
		if err := c.poll(ctx); err != nil {
			return nil, fmt.Errorf("%s: read the level: %w", c.name, err)
		}
	}
	return nil, ctx.Err()
}

// waitEdges waits for edges, or until it is time to read the level, and takes all there
// are: a level that is read counts as the latest only if no edge is left unread. While
// the contact bounces none is urgent; gathering them bounds what a noisy line costs.
func (c *contact) waitEdges(ctx context.Context) error {
	switch {
	case c.filter.Flapping():
		_ = host.Sleep(ctx, pollInterval)
	case c.filter.Bouncing(time.Now()):
		_ = host.Sleep(ctx, min(gatherBounces, c.quiet/4))
	}
	for timeout := time.Until(c.nextPoll()); ; timeout = 0 {
		n, err := c.line.WaitEdges(ctx, max(timeout, time.Millisecond), c.edges[:])
		if err != nil {
			return err
		}
		for _, e := range c.edges[:n] {
			c.filter.Edge(e.High == c.highIsOn, e.At, e.Lost)
		}
		if n > 0 {
			c.lastEdge = time.Now()
			c.pollAt = earlier(c.pollAt, c.lastEdge.Add(pollInterval))
		} else {
			c.pollAt = time.Time{} // poll now: it is due, or the line announces no edges
		}
		// A full buffer means that there may be more: they are older than a level that is read now.
		if n < len(c.edges) {
			return nil
		}
	}
}

// poll reads the level and sets the time of the next poll: soon after edges, else at the same
// time as all other contacts.
func (c *contact) poll(ctx context.Context) error {
	high, err := c.line.Level(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	c.filter.Level(high == c.highIsOn, now)
	c.pollAt = now.Add(pollInterval)
	if now.Sub(c.lastEdge) >= pollInterval {
		c.pollAt = now.Truncate(idlePollInterval).Add(idlePollInterval) // all contacts in the same wake-up
	}
	return nil
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// nextPoll returns when to read the level if there is no edge.
func (c *contact) nextPoll() time.Time {
	if due := c.filter.Due(); !due.IsZero() && due.Before(c.pollAt) {
		return due
	}
	return c.pollAt
}

// samples returns the changes and events of the filter since the last call.
func (c *contact) samples() (samples []sensors.Sample) {
	for _, n := range c.filter.Take() {
		s := sensors.Sample{Quantity: "contact", Ago: max(time.Since(n.Since), 0)}
		switch {
		case n.Event != nil:
			e := sensors.NewEvent("flapping", n.Event)
			s.Event = &e
		case n.On:
			s.Value = 1
		}
		samples = append(samples, s)
	}
	return samples
}

// Close gives the line back to the kernel.
func (c *contact) Close() error { return c.line.Close() }
