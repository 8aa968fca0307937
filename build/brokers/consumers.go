package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/build/rig/broker"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// runConsumers runs Python programs that read what an agent sends, across an outage of its
// link, one of theirs, and one of the broker.
func runConsumers(ctx context.Context, p place, rep *report) {
	for _, name := range []string{"python3-paho-mqtt", "python3-django"} {
		if _, err := debianVersion(name); err != nil {
			rep.absent(consumersWord, err, os.Getenv("CI") != "")
			return
		}
	}
	s, err := newServer(p, &mosquitto, filepath.Join(p.dir, consumersWord))
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		rep.check(false, "%s: a broker for them: %v", consumersWord, err)
		return
	}
	defer s.kill()
	r := &readers{suite: newSuite(p, s, rep)}
	if err := r.run(ctx); err != nil {
		rep.check(false, "%s: %v", consumersWord, err)
	}
}

// readers are the consumers, and a recorder for comparison.
type readers struct {
	*suite
	all  []*consumer
	bare *agent // the agent with plain payloads
}

func (r *readers) run(ctx context.Context) (err error) {
	if r.rec, err = broker.RecordAs(r.server.login("recorder"), "#"); err != nil {
		return err
	}
	defer r.rec.Close()
	r.ledger = newLedger(r.rec)
	link, err := cable.New(r.server.address(), nil, cable.Link{})
	if err != nil {
		return err
	}
	defer link.Close()
	house, err := newAgent(r.server, "house", "house", link.Addr(), password)
	if err != nil {
		return err
	}
	defer house.kill()
	if r.bare, err = r.newBare(link.Addr()); err != nil {
		return err
	}
	defer r.bare.kill()
	defer r.close()
	if err := r.open(ctx); err != nil {
		return err
	}
	if _, err := r.ask(ctx, r.here("neighbour.py")); err != nil {
		return err
	}
	if err := house.start(); err != nil {
		return err
	}
	if err := r.outages(ctx, link); err != nil {
		return err
	}
	r.redelivery(ctx)
	r.cards(ctx)
	for _, a := range []*agent{house, r.bare} {
		if err := a.stop(); err != nil {
			return err
		}
	}
	r.everything(ctx)
	r.bareValues(ctx)
	r.handedOver()
	r.present(ctx)
	return nil
}

// open starts the consumers, and returns when each has received something: from then on the
// broker queues messages for them.
func (r *readers) open(ctx context.Context) error {
	manage := filepath.Join(r.here("backend"), "manage.py")
	if out, err := r.ask(ctx, manage, "migrate", "--run-syncdb"); err != nil {
		return fmt.Errorf("migrate: %w: %s", err, out)
	}
	r.all = []*consumer{
		newConsumer("on_message", r.here("tutorial.py")),
		newConsumer("subscribe.callback", r.here("callback.py")),
		newConsumer("Django", manage, "record"),
		{name: "Django as it is", of: bareID, command: []string{manage, "record_as_it_is"},
			killed: make(chan struct{}), stop: func() {}},
		newConsumer("ThingsBoard", r.here("thingsboard.py")),
	}
	for _, c := range r.all {
		c.keep(ctx, r.python)
	}
	herald, err := newAgent(r.server, "herald", "herald", r.server.address(), password)
	if err != nil {
		return err
	}
	defer herald.kill()
	if err := herald.start(); err != nil {
		return err
	}
	if err := r.bare.start(); err != nil {
		return err
	}
	for _, c := range r.all {
		err := eventually(ctx, time.Minute, c.name+" gets something", func() bool {
			return strings.Contains(c.out.String(), cmp.Or(c.of, "herald")+" ")
		})
		if err != nil {
			return fmt.Errorf("%w: %s", err, c.errors.String())
		}
	}
	return herald.stop()
}

// outages are one of the agent's link, one of each consumer while the backlog drains, and
// one of the broker.
func (r *readers) outages(ctx context.Context, link *cable.Cable) error {
	if err := r.live(ctx, "house"); err != nil {
		return err
	}
	link.Pull()
	pause(ctx, linkOutage)
	link.Plug()
	before := len(r.ledger.on("house/load"))
	if err := eventually(ctx, patience, "the backlog drains", func() bool {
		return len(r.ledger.on("house/load")) > before
	}); err != nil {
		return err
	}
	for _, c := range r.all {
		c.kill()
	}
	for _, c := range r.all {
		said := len(c.out.String())
		if err := eventually(ctx, time.Minute, c.name+" is back", func() bool {
			return len(c.out.String()) > said
		}); err != nil {
			return err
		}
	}
	if err := r.live(ctx, "house"); err != nil {
		return err
	}
	if err := r.server.stop(); err != nil {
		return err
	}
	pause(ctx, 2*time.Second)
	if err := r.server.start(ctx); err != nil {
		return err
	}
	return r.live(ctx, "house")
}

// close ends the consumers. Their output is kept.
func (r *readers) close() {
	for _, c := range r.all {
		c.close()
		os.WriteFile(r.server.path(c.name+".out"), []byte(c.out.String()), 0o644)
		os.WriteFile(r.server.path(c.name+".errors"), []byte(c.errors.String()), 0o644)
	}
}
