// Package demo shows the whole agent without hardware or an external broker: a simulated
// house, an embedded broker on loopback, a network cable between them that is unplugged
// from time to time, and a subscriber that prints what arrives.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/broker"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
	"github.com/holdfast-iot/holdfast/config"
	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/drivers"
)

const (
	plugged  = 8 * time.Second  // with a network
	pulled   = 12 * time.Second // without a network: longer than the 10 s after which a reading is historical
	maxRetry = 2 * time.Second  // between two attempts of the agent to connect; short, so that the demo is quick
	settle   = 20 * time.Second // for the backlog to arrive at the end
)

// house is the configuration, with placeholders for the broker's host and port, and the
// path of the queue. It is printed unchanged, so that the user can copy it.
const house = `client_id: house
mqtt: {server: "mqtt://%s"}
queue: {path: %q, sync_every: 1s}
sensors:
  door:     {kind: simulated, steps: {states: [closed, open], every: 3s}, class: door, alarm: true}
  humidity: {kind: simulated, wave: {quantity: humidity, unit: "%%", mean: 45, swing: 10, period: 1m}, every: 1s}
  freezer:  {kind: simulated, wave: {quantity: temperature, unit: "°C", mean: -18, swing: 1.5, period: 40s}, every: 2s}
outputs:
  siren: {kind: simulated, class: siren, max_on: 10s}
rules:
  intruder: {when: {door: open}, then: {siren: 2s}}
`

// Serve runs the agent. It returns when its context ends, with the context's error; any
// other error ends the demo. It calls changed for each reading of an output, immediately
// and from one goroutine at a time. It is a parameter because package main, which contains
// the agent, imports this package.
type Serve func(ctx context.Context, cfg config.Config, open sensors.Open, changed func(sensors.Reading),
	log *slog.Logger) error

// Options configure the demo. Out and Serve are required. With Verbose the log and the
// screen write to Out from several goroutines.
type Options struct {
	For     time.Duration // how long; 0: until the context ends
	Verbose bool          // the agent's log as well
	Browse  bool          // open the status page in a browser
	Record  bool          // run holdfast-recorder beside it
	Out     io.Writer
	Serve   Serve
}

// logWriter returns the destination of logs.
func (o Options) logWriter() io.Writer {
	if o.Verbose {
		return o.Out
	}
	return io.Discard
}

// Run shows the demo until ctx is done or its time is over. It returns an error if a
// reading was lost. It leaves nothing behind: the queue is in a temporary folder, and the
// kernel chooses free ports of the loopback interface.
func Run(ctx context.Context, opt Options) (err error) {
	dir, err := os.MkdirTemp("", "holdfast-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	// Without -v no log is printed: it would mix with the lines of the screen.
	log := slog.New(slog.NewTextHandler(opt.logWriter(), nil))
	// The broker's own log would only report the interruptions that the demo causes.
	b, err := broker.Listen("127.0.0.1:0", "", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	wire, err := cable.New(b.Addr().String(), nil, cable.Link{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, wire.Close()) }()

	// The agent gets nothing except a configuration as a user would write it.
	text := fmt.Sprintf(house, wire.Addr(), filepath.Join(dir, "queue.db"))
	cfg, err := config.Parse("demo", []byte(text))
	if err != nil {
		return err
	}
	cfg.Uplink.MaxRetry = maxRetry

	s := newScreen(opt.Out)
	if opt.Record {
		r, failed := startRecorder(dir, b.Addr().String(), opt.logWriter())
		if failed != nil {
			return failed
		}
		s.say("the recorder's page is " + r.url)
		defer func() {
			said, failed := r.stop("house")
			s.printf("the recorder: %s", said)
			err = errors.Join(err, failed)
		}()
	}
	cfg.Status = &config.Status{Listen: "127.0.0.1:0", Listening: func(url string) {
		s.say("the status page is " + url)
		if opt.Browse {
			s.browse(url)
		}
	}}
	s.printf("A house without hardware. Its broker is %s, its queue is in %s.\nThe configuration:\n\n%s\n",
		b.Addr(), dir, text)
	// Before the agent starts, so that the first reading is counted too.
	if err := b.Subscribe("#", s.arrived); err != nil {
		return err
	}
	return show(ctx, opt, cfg, log, wire, s)
}

// show runs the agent and pulls the cable on schedule. At the end it plugs the cable in,
// stops sampling, waits for the siren to end and for the backlog to drain, and stops the
// agent. Then no reading is still being made or sent, so the numbers can be compared.
func show(ctx context.Context, opt Options, cfg config.Config, log *slog.Logger, wire *cable.Cable, s *screen) error {
	// Ctrl-C ends the sampling; the agent continues until everything has arrived.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	sampling, stopSampling := context.WithCancel(running)
	defer stopSampling()
	m := &meter{open: drivers.NewHardware().Open, count: s.sent, sampling: sampling}
	ended := make(chan error, 1)
	go func() { ended <- opt.Serve(running, cfg, m.Open, s.changed, log) }()

	if err := schedule(ctx, opt.For, wire, s, ended); err != nil {
		return err
	}
	wire.Plug()
	stopSampling()
	s.drain(settle)
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return err
	}
	return s.summary()
}

// schedule pulls the cable and plugs it in until ctx is done, the time is over or the agent
// ends. It leaves time to drain at the end.
func schedule(ctx context.Context, length time.Duration, wire *cable.Cable, s *screen, ended <-chan error) error {
	start, on := time.Now(), true
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for change := start.Add(plugged); ; {
		select {
		case err := <-ended:
			return fmt.Errorf("the agent ended: %w", err)
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		left := length - time.Since(start) // not used without a length
		switch {
		case length > 0 && left <= 0:
			return nil
		case time.Now().Before(change) || on && length > 0 && left < pulled:
			s.backlog(on)
			continue
		}
		// The cable is alternately plugged in and pulled.
		if on = !on; on {
			wire.Plug()
			s.dark(false)
			s.say("the network is back")
			change = time.Now().Add(plugged)
			continue
		}
		wire.Pull()
		s.dark(true)
		s.say("the network is pulled: what happens now waits on disk")
		change = time.Now().Add(pulled)
	}
}
