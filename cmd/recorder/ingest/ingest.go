// Package ingest moves messages from the broker to the store: it collects batches, commits
// them, and then acknowledges their messages.
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

// Filters are the topics that the recorder subscribes to: readings, and what agents report
// about themselves.
var Filters = []string{"+/+", "+/agent/+"}

const (
	keptPayload     = 1024                  // bytes that are kept of a too large payload, for the quarantine
	pauseTimeout    = 10 * time.Millisecond // without a message, when a batch is as large as at the last pause: see pace
	maxWaitingBytes = 8 << 20               // bytes of messages that wait for a commit
	messageOverhead = 200                   // estimated bytes of a waiting message without its topic and payload
)

// Options say what to subscribe to and when to commit.
type Options struct {
	Subscribe subscribe.Options  // Run sets Filters and the limits of payloads
	Share     string             // the group of a shared subscription; empty: none
	NATS      *jetstream.Options // if not nil, the source in place of Subscribe; Run sets the limits of payloads
	Size      int                // maximum messages of a batch; as many again may wait for the next one
	Time      time.Duration      // the longest time that a message waits for others
	Log       *slog.Logger
	Stored    func(store.Result) // called after each commit; may be nil
}

// A Sink is the part of the store that Run uses. Run calls it from one goroutine at a time.
// Commit must not keep the batch: Run reuses its memory.
type Sink interface {
	Commit(ctx context.Context, batch []store.Item) (store.Result, error)
	Connected(ctx context.Context, c store.Connection) error
}

// Run records until ctx is done, and reconnects after each error. It acknowledges only what is
// durable in the sink. When ctx is done, it first finishes the commit that is running, and
// acknowledges it.
func Run(ctx context.Context, o Options, sink Sink) error {
	o.Subscribe.Filters = o.filters()
	// The retained messages of agents are few, and mark the end of the broker's queue for us.
	o.Subscribe.RetainedFilter = Filters[1]
	// In a group each member would count the same dropped messages.
	if o.Share == "" {
		o.Subscribe.Optional = &subscribe.Optional{Filter: droppedTopic}
	}
	o.Subscribe.MaxPayload, o.Subscribe.MaxKept = message.MaxPayload, keptPayload
	o.Subscribe.Window = uint16(min(2*o.Size, 1<<16-1))
	if o.NATS != nil {
		limited := *o.NATS
		limited.MaxPayload, limited.MaxKept = message.MaxPayload, keptPayload
		o.NATS = &limited
	}
	wait, started := backoff{}, true
	// One for all connections, so that warnings stay rare. In a group it ignores the broker's
	// count: the session may still have a subscription from before.
	lost := &drops{shared: o.Share != ""}
	for ctx.Err() == nil {
		// After any error a new connection is made.
		conn, err := dial(ctx, o)
		if err == nil {
			if err = recordConnection(ctx, o, sink, conn, started); err == nil {
				began := time.Now()
				started = false
				err = record(ctx, o, sink, conn, lost)
				// A broker may accept the connection and refuse the subscription, or end the
				// connection for another recorder with the same client ID. So a short
				// connection does not reset the back-off.
				if time.Since(began) >= stableConnection {
					wait = backoff{}
				}
			}
			conn.Close()
		}
		if ctx.Err() != nil {
			break
		}
		// Each attempt is logged: the back-off keeps the log short.
		pause := wait.next()
		o.Log.Warn("no connection to the broker", "error", err, "retry", pause.Round(time.Millisecond))
		sleep(ctx, pause)
	}
	return nil
}

// A source is a connection that delivers messages: by MQTT, or from NATS. One goroutine calls
// Read, and another one Acknowledge, in the order of arrival.
type source interface {
	Read() (subscribe.Message, error)
	Acknowledge([]subscribe.Message) error
	StopReading()
	Disconnect() error
	Close() error
}

// A connection is a source with the properties that are logged and stored.
type connection struct {
	source
	fresh            bool // the server had no session for us, and kept nothing
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

// filters returns the filters to subscribe to. In a group the broker sends each message to one
// of the members, so consecutive readings may go to different recorders.
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

// recordConnection logs and stores a connection, which store.Verify needs to explain gaps. It
// runs before the first message of the connection is stored, and retries until the store
// accepts it or ctx is done.
func recordConnection(ctx context.Context, o Options, sink Sink, conn connection, started bool) error {
	o.Log.Info("connected", "server", conn.server, "protocol", conn.protocol,
		"session", map[bool]string{true: "new", false: "resumed"}[conn.fresh])
	c := store.Connection{At: time.Now(), Fresh: conn.fresh, Started: started}
	return retry(ctx, o.Log, func(ctx context.Context) error { return sink.Connected(ctx, c) })
}

// A received message, for its acknowledgement and for the store.
type received struct {
	subscribe.Message
	item store.Item
}

// decode returns the item of a message that was received at a time, in Unix milliseconds.
// fresh: the broker had no session for us.
func decode(m subscribe.Message, at int64, fresh bool) store.Item {
	it := store.Item{At: at, Topic: m.Topic, Payload: m.Payload, Size: m.Size}
	var err error
	it.Message, err = message.Decode(m.Topic, m.Payload, m.Size, m.Retained)
	// A birth is always retained. Only in a new session does this mean that its boot is older
	// than the session.
	if birth, ok := it.Message.(message.Birth); ok {
		birth.Retained = birth.Retained && fresh
		it.Message = birth
	}
	if err != nil && !errors.As(err, &it.Bad) {
		it.Bad = &message.BadError{Reason: "json", Text: err.Error()} // Decode has no other errors
	}
	return it
}

// record reads and commits until the connection ends, or until ctx is done and all that was
// read is committed. It returns why the connection ended. Only its reader uses lost meanwhile.
func record(ctx context.Context, o Options, sink Sink, conn connection, lost *drops) error {
	defer context.AfterFunc(ctx, conn.StopReading)()
	// The channel bounds the number of waiting messages, the budget bounds their bytes.
	in := make(chan received, o.Size)
	room := newBudget(maxWaitingBytes)
	// Buffered, so that the reader never blocks on its one error.
	failed := make(chan error, 1)
	lost.known = false // the broker may be another one
	go func() {
		defer close(in)
		for {
			m, err := conn.Read()
			if err != nil {
				failed <- err
				return
			}
			// Blocks while too many bytes wait: then nothing is read, and TCP slows the broker down.
			room.acquire(size(m))
			// Decode in this goroutine: the other one waits for the disk.
			var item store.Item
			if now := time.Now().UnixMilli(); m.Topic == droppedTopic {
				item = lost.decode(m, now, o.Log)
			} else {
				item = decode(m, now, conn.fresh)
				item.Retained = m.Retained && o.NATS == nil // NATS delivers them before its queue
			}
			in <- received{m, item}
		}
	}()
	w := writer{o: o, sink: sink, conn: conn, room: room}
	w.run(ctx, in)
	// run returns when the reader has closed the channel, after it sent its error.
	err := <-failed
	if ctx.Err() != nil {
		conn.Disconnect() // everything that was read has been acknowledged
	}
	return err
}

// A writer commits the received messages. One goroutine uses it. batch and acks hold the same
// messages in the order of arrival; their memory is reused for each batch.
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

// run commits batches until in is closed. It also stores messages whose connection was lost
// before their acknowledgement: if the broker was killed, it may never send them again. If it
// does, the store ignores the second copies, except for readings without a key.
func (w *writer) run(ctx context.Context, in <-chan received) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := range in {
		w.add(first)
		w.collect(in, timer)
		w.commit(ctx, in)
	}
}

// collect adds messages to the batch until it is large enough or old enough, or the broker
// seems to wait for acknowledgements.
func (w *writer) collect(in <-chan received, timer *time.Timer) {
	deadline := time.Now().Add(w.o.Time)
	for len(w.batch) < w.o.Size && w.bytes < maxWaitingBytes/2 && !w.full(len(w.batch)) {
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

// size estimates the memory of a message in bytes. Its topic may have 65,535 bytes.
func size(m subscribe.Message) int { return len(m.Topic) + len(m.Payload) + messageOverhead }

// add appends a message to the batch.
func (w *writer) add(m received) {
	w.batch, w.acks = append(w.batch, m.item), append(w.acks, m.Message)
	w.bytes += size(m.Message)
}

// commit stores the batch and then acknowledges it. It retries until the store accepts the
// batch or ctx is done. Memory stays bounded meanwhile: the reader stops when the channel or
// the budget is full.
func (w *writer) commit(ctx context.Context, in <-chan received) {
	var result store.Result
	err := retry(ctx, w.o.Log, func(ctx context.Context) (err error) {
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
	// Also if ctx is done: the reader must not block for ever.
	w.room.release(w.bytes)
	clear(w.batch) // so that the payloads can be collected
	clear(w.acks)
	w.batch, w.acks, w.bytes = w.batch[:0], w.acks[:0], 0
}

// stopTimeout is how long a commit that is running when ctx is done may still take.
const stopTimeout = 10 * time.Second

// retry calls do until it succeeds or ctx is done. A call that is running when ctx is done has
// stopTimeout left.
func retry(ctx context.Context, log *slog.Logger, do func(context.Context) error) error {
	wait := backoff{}
	for {
		// Wait for a running commit: what it stores need not be sent again.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() {
			time.AfterFunc(stopTimeout, cancel)
		})
		err := do(own)
		stop()
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		// An error, not a warning: nothing is lost yet, but the broker's queue is limited.
		pause := wait.next()
		log.Error("the database does not take a batch: nothing is acknowledged meanwhile, and the broker keeps it",
			"error", err, "retry", pause.Round(time.Millisecond))
		sleep(ctx, pause)
	}
}

// stableConnection is how long a connection must last to reset the back-off.
const stableConnection = 20 * time.Second

// A backoff computes the pauses between attempts: 0.2 s to 0.4 s at first, at last 10 s to
// 20 s. Its jitter keeps several recorders from reconnecting at the same moment.
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
