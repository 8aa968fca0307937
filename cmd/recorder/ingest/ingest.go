// Package ingest moves messages from the broker to the store: it makes batches,
// commits them, and acknowledges what is committed.
//
// # Concurrency
//
// Run owns two goroutines, one that reads and one that commits, and returns when
// both have ended.
package ingest

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/jetstream"
	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/cmd/recorder/subscribe"
)

// Filters are what the recorder subscribes to: readings, and what agents say of
// themselves.
var Filters = []string{"+/+", "+/agent/+"}

const (
	keptPayload = 1024                  // bytes of a payload that is too large, for the quarantine
	quiet       = 10 * time.Millisecond // without a message, at the number of the last pause: see pace
	maxWaiting  = 8 << 20               // bytes of payloads that wait for a commit
	overhead    = 200                   // bytes of a message that waits, beside its payload
)

// Options say what to subscribe to and when to commit. Size bounds the memory, too:
// at most as many messages again wait for the next batch.
type Options struct {
	Subscribe subscribe.Options  // Filters and the limits of payloads are set by Run
	Share     string             // the group of a shared subscription; empty: none
	NATS      *jetstream.Options // the source in place of Subscribe, if not nil; Run sets the limits of payloads
	Size      int                // messages of a batch at most
	Time      time.Duration      // the longest time that a message waits for others
	Log       *slog.Logger
	Stored    func(store.Result) // is called after each commit; may be nil
}

// A Sink is what Run needs of the store. Commit is called by one goroutine at a time,
// and its batch may not be kept: the next one uses its memory.
type Sink interface {
	Commit(ctx context.Context, batch []store.Item) (store.Result, error)
	Connected(ctx context.Context, c store.Connection) error
}

// Run records until ctx is done. It connects again as often as it takes. What is
// acknowledged is durable in the sink. A batch that is being committed at the end is
// committed and acknowledged.
func Run(ctx context.Context, o Options, sink Sink) error {
	o.Subscribe.Filters = o.filters()
	// What agents say of themselves is little, and shows where the broker's queue for us ends.
	o.Subscribe.Refreshed = Filters[1]
	// In a group each member would count the same.
	if o.Share == "" {
		o.Subscribe.Optional = &subscribe.Optional{Filter: droppedTopic}
	}
	o.Subscribe.MaxPayload, o.Subscribe.Keep = message.MaxPayload, keptPayload
	o.Subscribe.Window = uint16(min(2*o.Size, 1<<16-1))
	if o.NATS != nil {
		limited := *o.NATS
		limited.MaxPayload, limited.MaxKept = message.MaxPayload, keptPayload
		o.NATS = &limited
	}
	// The pauses grow until a connection has lasted.
	wait, started := backoff{}, true
	// For all connections, so that warnings are rare. A session may have an older subscription.
	lost := &drops{shared: o.Share != ""}
	for ctx.Err() == nil {
		// A connection is used for one stretch: after any error the next one begins anew.
		conn, err := dial(ctx, o)
		if err == nil {
			if err = note(ctx, o, sink, conn, started); err == nil {
				began := time.Now()
				started = false
				err = record(ctx, o, sink, conn, lost)
				// A broker may accept a connection and refuse its subscription, or end it for
				// another recorder with the same name: that is no reason to come back at once.
				if time.Since(began) >= stableConnection {
					wait = backoff{}
				}
			}
			conn.Close()
		}
		if ctx.Err() != nil {
			break
		}
		// It is logged each time: the pauses keep the log short.
		pause := wait.next()
		o.Log.Warn("no connection to the broker", "error", err, "retry", pause.Round(time.Millisecond))
		sleep(ctx, pause)
	}
	return nil
}

// A source is a connection from which messages come: by MQTT, or from NATS. One
// goroutine calls Read, and another one Acknowledge, in the order in which they came.
type source interface {
	Read() (subscribe.Message, error)
	Acknowledge([]subscribe.Message) error
	StopReading()
	Disconnect() error
	Close() error
}

// A connection is a source, and what the log and the store say of it.
type connection struct {
	source
	fresh            bool // nothing was kept for us
	server, protocol string
}

// dial connects to the source that the options name.
func dial(ctx context.Context, o Options) (connection, error) {
	if o.NATS != nil {
		c, err := jetstream.Dial(ctx, *o.NATS)
		if err != nil {
			return connection{}, err
		}
		return connection{c, c.Fresh, c.Server, "NATS"}, nil
	}
	c, err := subscribe.Dial(ctx, o.Subscribe)
	if err != nil {
		return connection{}, err
	}
	return connection{c, c.Fresh, c.Server, map[byte]string{4: "MQTT 3.1.1", 5: "MQTT 5"}[c.Version]}, nil
}

// filters are what is subscribed to. In a group each message goes to one member, which
// may be another than the one that got its neighbour.
func (o Options) filters() []string {
	if o.Share == "" {
		return Filters
	}
	shared := make([]string, len(Filters))
	for i, f := range Filters {
		shared[i] = "$share/" + o.Share + "/" + f
	}
	return shared
}

// note says that there is a connection, in the log and in the store, where it
// explains what is missing. It comes before the first message of the connection is
// stored, and tries until the store takes it.
func note(ctx context.Context, o Options, sink Sink, conn connection, started bool) error {
	o.Log.Info("connected", "server", conn.server, "protocol", conn.protocol,
		"session", map[bool]string{true: "new", false: "resumed"}[conn.fresh])
	c := store.Connection{At: time.Now(), Fresh: conn.fresh, Started: started}
	return until(ctx, o.Log, func(ctx context.Context) error { return sink.Connected(ctx, c) })
}

// A received message as the broker wants it acknowledged, and as it is stored.
type received struct {
	subscribe.Message
	item store.Item
}

// decode makes an item of a message that was received at a time, in Unix milliseconds.
// fresh: the broker had no session for us.
func decode(m subscribe.Message, at int64, fresh bool) store.Item {
	it := store.Item{At: at, Topic: m.Topic, Payload: m.Payload, Size: m.Size}
	var err error
	it.Message, err = message.Decode(m.Topic, m.Payload, m.Size, m.Retained)
	// The birth is retained: with a new session it is an old message. In one that is
	// resumed it tells nothing that we have missed.
	if birth, ok := it.Message.(message.Birth); ok {
		birth.Retained = birth.Retained && fresh
		it.Message = birth
	}
	if err != nil && !errors.As(err, &it.Bad) {
		it.Bad = &message.BadError{Reason: "json", Text: err.Error()} // Decode has no other errors
	}
	return it
}

// record reads and commits until the connection ends, or ctx is done and all that was
// read is committed. It returns why the connection ended. lost is used until then.
func record(ctx context.Context, o Options, sink Sink, conn connection, lost *drops) error {
	defer context.AfterFunc(ctx, conn.StopReading)()
	// The channel bounds the number that waits, the budget its bytes.
	in := make(chan received, o.Size)
	room := newBudget(maxWaiting)
	// It has room for the one error, so the reader never waits to leave it.
	failed := make(chan error, 1)
	lost.known = false // the broker may be another one
	go func() {
		defer close(in)
		for {
			// The order of arrival is kept from here to the acknowledgement.
			m, err := conn.Read()
			if err != nil {
				failed <- err
				return
			}
			// Waits while too many bytes wait: then nothing is read, and TCP stops the broker.
			room.take(size(m))
			// Decoding here goes on while the writer waits for the disk.
			var item store.Item
			if now := time.Now().UnixMilli(); m.Topic == droppedTopic {
				item = lost.decode(m, now, o.Log)
			} else {
				item = decode(m, now, conn.fresh)
				item.Retained = m.Retained && o.NATS == nil // those of NATS come before its queue
			}
			in <- received{m, item}
		}
	}()
	w := writer{o: o, sink: sink, conn: conn, room: room}
	w.run(ctx, in)
	// The reader has closed the channel, so its error is there.
	err := <-failed
	if ctx.Err() != nil {
		conn.Disconnect() // all that was read is acknowledged
	}
	return err
}

// A writer commits what was read. One goroutine has it. batch and acks are of the same
// messages, in the order of arrival; their memory is used again for each batch.
type writer struct {
	o     Options
	sink  Sink
	conn  source
	room  *budget
	batch []store.Item
	acks  []subscribe.Message
	bytes int
	pace
}

// run makes batches until in is closed. What was read is stored even if the connection
// is lost meanwhile: the broker may have been killed, and never send it again. If it
// does, a second copy changes nothing, but for readings without a key.
func (w *writer) run(ctx context.Context, in <-chan received) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := range in {
		w.add(first)
		w.collect(in, timer)
		w.commit(ctx, in)
	}
}

// collect adds to the batch until it is large enough, or old enough, or the broker
// waits for acknowledgements.
func (w *writer) collect(in <-chan received, timer *time.Timer) {
	deadline := time.Now().Add(w.o.Time)
	for len(w.batch) < w.o.Size && w.bytes < maxWaiting/2 && !w.full(len(w.batch)) {
		timer.Reset(w.wait(len(w.batch), time.Until(deadline)))
		select {
		case m, ok := <-in:
			if !ok {
				return
			}
			w.add(m)
		case <-timer.C:
			w.paused(len(w.batch))
			return
		}
	}
}

// size is what a message takes in memory, about: its topic may have 65,535 bytes.
func size(m subscribe.Message) int { return len(m.Topic) + len(m.Payload) + overhead }

// add puts a message into the batch.
func (w *writer) add(m received) {
	w.batch, w.acks = append(w.batch, m.item), append(w.acks, m.Message)
	w.bytes += size(m.Message)
}

// commit stores the batch, and then acknowledges it. It tries again until the store
// takes it: without an acknowledgement the broker sends no more than its window, and
// nothing more is read than there is room for.
func (w *writer) commit(ctx context.Context, in <-chan received) {
	var result store.Result
	err := until(ctx, w.o.Log, func(ctx context.Context) (err error) {
		result, err = w.sink.Commit(ctx, w.batch)
		return err
	})
	w.committed(len(in))
	if err == nil {
		w.conn.Acknowledge(w.acks) // if it fails, the connection ends, and Read says why
		if w.o.Stored != nil {
			w.o.Stored(result)
		}
	}
	// Also after a stop in the middle: the reader must not wait for ever.
	w.room.give(w.bytes)
	clear(w.batch) // the payloads can go
	clear(w.acks)
	w.batch, w.acks, w.bytes = w.batch[:0], w.acks[:0], 0
}

// lastCommit is how long a commit may take that is under way at the end.
const lastCommit = 10 * time.Second

// until repeats what failed, until it succeeds or ctx is done. What is under way then
// has a while left.
func until(ctx context.Context, log *slog.Logger, do func(context.Context) error) error {
	wait := backoff{}
	for {
		// A commit that is under way when we are told to stop is worth waiting for: what it
		// stores need not be sent again.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() {
			time.AfterFunc(lastCommit, cancel)
		})
		err := do(own)
		stop()
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		// Nothing is lost meanwhile, but the broker's queue has an end: so it is an error.
		pause := wait.next()
		log.Error("the database does not take a batch: nothing is acknowledged meanwhile, and the broker keeps it",
			"error", err, "retry", pause.Round(time.Millisecond))
		sleep(ctx, pause)
	}
}

// stableConnection is how long a connection lasts that worked.
const stableConnection = 20 * time.Second

// A backoff gives the pauses between attempts: 0.2 s to 0.4 s at first, then up to
// 10 s to 20 s. They are random, so that several recorders do not come back at once.
type backoff struct{ base time.Duration }

// next returns the next pause.
func (b *backoff) next() time.Duration {
	b.base = min(max(2*b.base, 200*time.Millisecond), 10*time.Second)
	return b.base + rand.N(b.base)
}

// sleep waits, or returns early when ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
