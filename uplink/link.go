// Package uplink makes a reading MQTT.
//
// A [Link] keeps one session with the broker at a time and starts a new one
// for ever. In a session two kinds of truth go out side by side: the state,
// what is true now, retained and asserted anew at the start of each session;
// and the history, every reading, drained from a backlog and acknowledged
// there only when the broker has acknowledged it.
//
// Only [DialMQTT] knows the MQTT library.
package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/queue"
	"github.com/holdfast-iot/holdfast/sensors"
)

const (
	window = 20 // messages in flight; EMQX loses messages for slow subscribers beyond it

	goodbyeGrace = 4 * time.Second // for what is in flight when the agent stops
	goodbyeTime  = time.Second     // for the goodbye itself
	retryRead    = time.Second     // after the backlog could not be read
)

// A Backlog is what the link drains; a [queue.Queue] is one.
type Backlog interface {
	// Next waits for items and returns the oldest; the same until Ack.
	Next(ctx context.Context, max int) ([]queue.Item, error)
	Ack([]queue.Item) error
}

// A Message is one publication at QoS 1.
type Message struct {
	Topic   string
	Payload []byte
	Retain  bool
}

// A Conn is one connection to the broker.
type Conn interface {
	// Publish returns nil when the broker has acknowledged every message.
	Publish(ctx context.Context, msgs ...Message) error
	// Done is closed when the connection is lost.
	Done() <-chan struct{}
	// Err says why, once Done is closed.
	Err() error
	// Disconnect ends the connection in order: the broker forgets the will.
	Disconnect()
	// Close drops the connection: the broker publishes the will.
	Close() error
}

// Dial connects to the broker, which publishes will if the connection is lost.
type Dial func(ctx context.Context, will Message) (Conn, error)

// A Link is the way from the agent to the broker.
type Link struct {
	opt     Options
	backlog Backlog
	dial    Dial
	log     *slog.Logger
	topics  topics
	states  states
	certs   expiries
	said    map[string]bool // reasons that the log was told since the link went down
}

// New returns a link that drains backlog; Run starts it.
func New(opt Options, backlog Backlog, dial Dial, log *slog.Logger) *Link {
	if opt.Clock == nil {
		opt.Clock = sensors.NewTimekeeper(sensors.TrustAuto)
	}
	l := &Link{opt: opt, backlog: backlog, dial: dial, log: log, topics: newTopics(opt), said: map[string]bool{}}
	l.states.changed = make(chan struct{}, 1)
	return l
}

// Observe takes note of a reading as the state of its stream. It never waits.
func (l *Link) Observe(r sensors.Reading) { l.states.observe(r) }

// Run connects and drains until ctx is done, then says goodbye.
func (l *Link) Run(ctx context.Context) error {
	var silence sync.WaitGroup
	silence.Go(func() { l.states.watchSilence(ctx, l.opt.Streams, l.opt.Clock) })
	defer silence.Wait()

	var retry backoff
	for ctx.Err() == nil {
		conn, err := l.dial(ctx, l.will())
		if err == nil {
			err = l.session(ctx, conn, &retry)
		} else {
			err = l.opt.explain(err)
		}
		if ctx.Err() != nil {
			break
		}
		wait := retry.after(err)
		if most := l.opt.RetryMost; most > 0 {
			wait = min(wait, most)
		}
		l.sayDown(err, wait)
		sleep(ctx, wait)
	}
	return ctx.Err()
}

// session runs one connection until it is lost or ctx is done.
func (l *Link) session(ctx context.Context, conn Conn, retry *backoff) error {
	work, end := context.WithCancelCause(ctx)
	defer end(nil)
	// Publications outlive ctx for a while, so that what is in flight when the
	// agent stops can still be acknowledged.
	publish, cancel := outlive(ctx, goodbyeGrace)
	defer cancel()

	if err := l.birth(publish, conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	retry.reset()
	l.sayUp()

	var workers sync.WaitGroup
	workers.Go(func() { end(l.drain(work, publish, conn)) })
	workers.Go(func() { end(l.assert(work, publish, conn)) })
	workers.Go(func() { l.certs.watch(work, conn, l.opt.Clock, l.log) })
	select {
	case <-work.Done():
	case <-conn.Done():
		end(fmt.Errorf("connection lost: %w", conn.Err()))
	}
	if ctx.Err() != nil { // the agent stops: in order
		workers.Wait()
		if l.goodbye(conn) {
			conn.Disconnect()
		}
		return errors.Join(ctx.Err(), conn.Close())
	}
	err := conn.Close() // fails what is in flight
	workers.Wait()
	return errors.Join(context.Cause(work), err)
}

// birth says that the agent is online, what it is, and the state of every stream.
func (l *Link) birth(ctx context.Context, conn Conn) error {
	msgs := []Message{l.status("online"), l.info()}
	for _, r := range l.states.all() {
		msgs = append(msgs, l.state(r))
	}
	if l.opt.HomeAssistant.Discovery {
		msgs = append(msgs, l.opt.Discovery())
	}
	return publishAll(ctx, conn, msgs)
}

// goodbye is the offline message that we send ourselves: an orderly disconnect
// suppresses the will. It reports whether the broker has it.
func (l *Link) goodbye(conn Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
	defer cancel()
	if err := conn.Publish(ctx, l.status("offline")); err != nil {
		l.log.Warn("no goodbye: the broker will send the will", "err", err)
		return false
	}
	return true
}

// drain moves the backlog to the broker, and nothing is acknowledged to it
// that the broker has not acknowledged to us.
func (l *Link) drain(ctx, publish context.Context, conn Conn) error {
	for unreadable := false; ctx.Err() == nil; {
		items, err := l.backlog.Next(ctx, window)
		if err != nil {
			if ctx.Err() == nil && !unreadable {
				unreadable = true
				l.log.Error("backlog cannot be read", "err", err, "retry_every", retryRead)
			}
			sleep(ctx, retryRead)
			continue
		}
		unreadable = false
		if err := conn.Publish(publish, l.messages(items)...); err != nil {
			return err
		}
		if err := l.backlog.Ack(items); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// assert publishes states as they change. A state that changes again while the
// link is busy is published once, as it is then.
func (l *Link) assert(ctx, publish context.Context, conn Conn) error {
	for {
		select {
		case <-l.states.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		var msgs []Message
		for _, r := range l.states.news() {
			msgs = append(msgs, l.state(r))
		}
		if err := publishAll(publish, conn, msgs); err != nil {
			return err
		}
	}
}

// publishAll publishes in windows.
func publishAll(ctx context.Context, conn Conn, msgs []Message) error {
	for len(msgs) > 0 {
		n := min(window, len(msgs))
		if err := conn.Publish(ctx, msgs[:n]...); err != nil {
			return err
		}
		msgs = msgs[n:]
	}
	return nil
}

func (l *Link) sayUp() {
	l.said = map[string]bool{}
	l.log.Info("uplink up")
}

// sayDown logs each reason once, not at every attempt. What a person has to
// mend is an error.
func (l *Link) sayDown(err error, wait time.Duration) {
	level := slog.LevelWarn
	var refused *RefusedError
	why := reason(err)
	switch {
	case l.said[why]:
		level = slog.LevelDebug
	case errors.As(err, &refused):
		level = slog.LevelError
	}
	l.said[why] = true
	l.log.Log(context.Background(), level, "uplink down", "err", err, "retry_in", wait.Round(10*time.Millisecond))
}

// reason is an error without the port of our end, which is new each time.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// outlive returns a context that ends when its cancel function is called, or
// some time after ctx is done.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	long, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(long, grace)
		cancel()
	})
	return long, func() { stop(); cancel() }
}

// sleep waits for d or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
