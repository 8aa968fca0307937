package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// cards are read at a door: while the back end in Python answers, and while the link is
// cut, whose answers come when it is back. Each valid card opens the door once.
func (r *readers) cards(ctx context.Context) {
	remark, err := r.showCards(ctx)
	if err != nil {
		r.report.check(false, "%s: cards: %v", consumersWord, err)
		return
	}
	r.report.check(true, "%s: cards: %s", consumersWord, remark)
}

// A doorway is a door with its card reader, behind a cable.
type doorway struct {
	*readers
	link   *cable.Cable
	reader *os.File // the card reader's pipe
	agent  *agent
	valid  int // number of cards that were read and are in the table
}

func (r *readers) showCards(ctx context.Context) (remark string, err error) {
	d := doorway{readers: r}
	if d.link, err = cable.New(r.server.address(), nil, cable.Link{}); err != nil {
		return "", err
	}
	defer d.link.Close()
	if err := d.prepare(ctx); err != nil {
		return "", err
	}
	defer d.reader.Close()
	defer d.agent.kill()
	backEnd := newConsumer("door", r.here("door/door.py"))
	backEnd.keep(ctx, r.python)
	defer backEnd.close()
	if err := d.agent.start(); err != nil {
		return "", err
	}
	if err := r.live(ctx, "gate"); err != nil {
		return "", err
	}
	pause(ctx, 3*time.Second) // for the subscriptions of the agent and of the back end
	if err := d.everywhere(ctx); err != nil {
		return "", fmt.Errorf("%w; the back end said %q %q", err, backEnd.out.String(), backEnd.errors.String())
	}
	return fmt.Sprintf("%d valid cards online, offline and back, %d openings", d.valid, d.openings()), nil
}

// prepare creates the pipe, the list, which a Python program writes, and the agent.
func (d *doorway) prepare(ctx context.Context) (err error) {
	pipe, list := filepath.Join(d.server.dir, "card"), filepath.Join(d.server.dir, "cards")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), ctx.Err()); err != nil {
		return err
	}
	if d.reader, err = os.OpenFile(pipe, os.O_RDWR, 0); err != nil { // opened for reading too, so that it does not block
		return err
	}
	text, err := d.ask(ctx, d.here("door/list.py"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
		return err
	}
	if d.agent, err = newAgent(d.server, "gate", "gate", d.link.Addr(), password); err != nil {
		return err
	}
	config, err := os.ReadFile(d.agent.config())
	if err != nil {
		return err
	}
	config = fmt.Appendf(config, `  card: {kind: lines, file: %s, alarm: true}
outputs:
  lock: {kind: simulated, class: lock, max_on: 10s, commands: true}
access:
  front: {reader: card, output: lock, open: 1s, answer_within: 2s, allow_file: %s}
`, pipe, list)
	return os.WriteFile(d.agent.config(), config, 0o600)
}

// everywhere reads cards online, while the link is cut and the agent has not noticed, and
// when it has; then the link comes back with the answers.
func (d *doorway) everywhere(ctx context.Context) error {
	for range 3 {
		if err := d.show(ctx, "4711", 1); err != nil {
			return err
		}
	}
	if err := d.show(ctx, "4799", 0); err != nil {
		return err
	}
	d.link.Pull()
	if err := d.show(ctx, "4712", 1); err != nil {
		return err
	}
	pause(ctx, 25*time.Second) // longer than the keepalive of 5 s
	for range 2 {
		if err := d.show(ctx, "4712", 1); err != nil {
			return err
		}
	}
	d.link.Plug()
	if err := eventually(ctx, patience, "the back end answers what was shown offline", func() bool {
		late := 0
		for _, a := range d.rec.Arrivals() {
			if a.Topic == "gate/agent/event" && strings.Contains(a.Payload, `"output":"lock"`) &&
				(strings.Contains(a.Payload, `"duplicate"`) || strings.Contains(a.Payload, `"expired"`)) {
				late++
			}
		}
		return late >= 3
	}); err != nil {
		return err
	}
	pause(ctx, 3*time.Second)
	if n := d.openings(); n != d.valid {
		return fmt.Errorf("%d openings of %d valid cards", n, d.valid)
	}
	return nil
}

// show sends a card's number, and waits until the door must have closed again. The changes
// of the door arrive when the link is back, so they are counted at the end.
func (d *doorway) show(ctx context.Context, number string, valid int) error {
	d.valid += valid
	_, err := fmt.Fprintln(d.reader, number)
	pause(ctx, 5*time.Second)
	return err
}

// openings is how often the lock was switched on.
func (d *doorway) openings() int { return d.changes("gate", "lock") }
