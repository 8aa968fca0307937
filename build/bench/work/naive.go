package work

import (
	"context"
	"encoding/binary"
	"encoding/json"

	"go.etcd.io/bbolt"

	"github.com/holdfast-iot/holdfast/sensors"
)

// naive is the obvious first implementation: bbolt with its defaults, a reading as JSON,
// one transaction to put it and one to delete it.
type naive struct {
	db         *bbolt.DB
	head, tail uint64 // the oldest key, and the next one to use
	done       int    // commits
}

var naiveBucket = []byte("readings")

// openNaive opens the store; a new one gets a backlog.
func openNaive(path string, backlog int) (*naive, error) {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return nil, err
	}
	n := &naive{db: db}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(naiveBucket)
		if err != nil {
			return err
		}
		if k, _ := b.Cursor().First(); k != nil {
			n.head = binary.BigEndian.Uint64(k)
		}
		if k, _ := b.Cursor().Last(); k != nil {
			n.tail = binary.BigEndian.Uint64(k) + 1
		}
		return nil
	})
	if err == nil && n.tail == 0 {
		err = n.prefill(backlog)
	}
	return n, err
}

// prefill creates a backlog in large transactions.
func (n *naive) prefill(backlog int) error {
	n.db.NoSync = true
	defer func() { n.db.NoSync = false }()
	src := newSource(1)
	for n.tail < uint64(backlog) {
		err := n.db.Update(func(tx *bbolt.Tx) error {
			for i := 0; i < 10_000 && n.tail < uint64(backlog); i++ {
				if err := n.putTx(tx, src.next()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return n.db.Sync()
}

func (n *naive) put(r sensors.Reading) error {
	n.done++
	return n.db.Update(func(tx *bbolt.Tx) error { return n.putTx(tx, r) })
}

func (n *naive) putTx(tx *bbolt.Tx, r sensors.Reading) error {
	text, err := json.Marshal(map[string]any{
		"stream": r.Stream, "seq": r.Seq, "value": r.Value, "unit": r.Unit, "time": r.At.Unix,
	})
	if err != nil {
		return err
	}
	key := binary.BigEndian.AppendUint64(nil, n.tail)
	n.tail++
	return tx.Bucket(naiveBucket).Put(key, text)
}

func (n *naive) take(_ context.Context, limit int) (int, error) {
	taken := 0
	for ; taken < limit && n.head < n.tail; taken++ {
		if err := n.takeOne(); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

func (n *naive) takeOne() error {
	key := binary.BigEndian.AppendUint64(nil, n.head)
	err := n.db.View(func(tx *bbolt.Tx) error {
		var r map[string]any
		return json.Unmarshal(tx.Bucket(naiveBucket).Get(key), &r)
	})
	if err != nil {
		return err
	}
	n.done++
	n.head++
	return n.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(naiveBucket).Delete(key) })
}

func (n *naive) backlog() int { return int(n.tail - n.head) }
func (n *naive) commits() int { return n.done }
func (n *naive) close() error { return n.db.Close() }
