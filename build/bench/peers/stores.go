package main

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/autopaho/queue/file"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
	storefile "github.com/eclipse/paho.golang/paho/store/file"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nsqio/go-diskqueue"
	"go.etcd.io/bbolt"
)

// fileStore uses only the library, which writes a file for each message.
type fileStore struct{ client mqtt.Client }

func openFileStore(_ context.Context, j job) (peer, error) {
	return fileStore{connected(j, mqtt.NewFileStore(filepath.Join(j.Dir, "store")))}, nil
}

// put repeats while the library has no free packet identifier: there are 65,535.
func (f fileStore) put(_ int, payload []byte) error {
	for {
		t := f.client.Publish(topic, 1, false, payload)
		select {
		case <-t.Done():
			if t.Error() != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
		default:
		}
		return nil
	}
}

func (f fileStore) close() error { f.client.Disconnect(100); return nil }

// autoQueue is autopaho, which writes a file for each queued message, and one for each in
// flight.
type autoQueue struct{ manager *autopaho.ConnectionManager }

func openAutopaho(ctx context.Context, j job) (peer, error) {
	waiting, err := file.New(filepath.Join(j.Dir, "queue"), "q", ".msg")
	if err != nil {
		return nil, err
	}
	client, err1 := storefile.New(filepath.Join(j.Dir, "session"), "c", ".pkt")
	server, err2 := storefile.New(filepath.Join(j.Dir, "session"), "s", ".pkt")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	m, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: j.Broker}}, KeepAlive: 30, ConnectTimeout: 5 * time.Second,
		SessionExpiryInterval: 1 << 30, ReconnectBackoff: autopaho.NewConstantBackoff(time.Second), Queue: waiting,
		ClientConfig: paho.ClientConfig{ClientID: "bench-" + j.Peer, Session: state.New(client, server)},
	})
	return autoQueue{m}, err
}

func (a autoQueue) put(_ int, payload []byte) error {
	message := &paho.Publish{QoS: 1, Topic: topic, Payload: payload}
	return a.manager.PublishViaQueue(context.Background(), &autopaho.QueuePublish{Publish: message})
}

func (a autoQueue) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return a.manager.Disconnect(ctx)
}

// bboltQueue is the obvious first implementation: a transaction to put a message, and one
// to delete it when it is acknowledged.
type bboltQueue struct {
	db      *bbolt.DB
	arrived chan struct{}

	mu                sync.Mutex
	sent, acked, last uint64 // keys
}

var bucket = []byte("readings")

func openBbolt(ctx context.Context, j job) (peer, error) {
	db, err := bbolt.Open(filepath.Join(j.Dir, "queue.db"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	q := &bboltQueue{db: db, arrived: make(chan struct{}, 1)}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		q.last = b.Sequence()
		q.acked = q.last - uint64(b.Stats().KeyN)
		q.sent = q.acked
		return nil
	})
	go drain(ctx, connected(j, nil), j.Window, func() []byte { return q.next(ctx) }, q.done)
	return q, err
}

func (q *bboltQueue) put(_ int, payload []byte) error {
	err := q.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		n, err := b.NextSequence()
		if err != nil {
			return err
		}
		return b.Put(key(n), payload)
	})
	q.mu.Lock()
	q.last++
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
	return err
}

func (q *bboltQueue) next(ctx context.Context) (payload []byte) {
	for {
		q.mu.Lock()
		more := q.sent < q.last
		if more {
			q.sent++
		}
		n := q.sent
		q.mu.Unlock()
		if more {
			q.db.View(func(tx *bbolt.Tx) error {
				payload = append(payload, tx.Bucket(bucket).Get(key(n))...)
				return nil
			})
			return payload
		}
		select {
		case <-q.arrived:
		case <-ctx.Done():
			return nil
		}
	}
}

func (q *bboltQueue) done() {
	q.mu.Lock()
	q.acked++
	n := q.acked
	q.mu.Unlock()
	q.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Delete(key(n)) })
}

func (q *bboltQueue) close() error { return q.db.Close() }

// segments is diskqueue. It has no acknowledgement: reading removes a message, so what was
// in flight at the end is lost.
type segments struct{ queue diskqueue.Interface }

func openDiskqueue(ctx context.Context, j job) (peer, error) {
	quiet := func(diskqueue.LogLevel, string, ...any) {}
	q := diskqueue.New("q", j.Dir, 100<<20, 1, 1<<20, 2500, 2*time.Second, quiet)
	go drain(ctx, connected(j, nil), j.Window, func() []byte {
		select {
		case p := <-q.ReadChan():
			return p
		case <-ctx.Done():
			return nil
		}
	}, func() {})
	return segments{q}, nil
}

func (s segments) put(_ int, payload []byte) error { return s.queue.Put(payload) }
func (s segments) close() error                    { return s.queue.Close() }
