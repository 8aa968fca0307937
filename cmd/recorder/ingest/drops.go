package ingest

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/cmd/recorder/subscribe"
)

// droppedTopic is where Mosquitto says how many messages it has dropped since it started, for
// all its clients. It publishes the number each sys_interval, if it has changed.
const droppedTopic = "$SYS/broker/publish/messages/dropped"

const (
	// maxCountDelay is how long a dropped message may have been dropped before the number
	// arrives that counts it. Usually it is sys_interval, 10 s; it is longer where the full
	// queue has no place for the message with the number, which is sent again then.
	maxCountDelay = 5 * time.Minute
	warnEvery     = 10 * time.Minute // a warning of dropped messages at most
)

// drops follows the broker's number of dropped messages. One goroutine at a time has it:
// the reader of the connection.
//
// The number comes at QoS 1, so the broker puts it into the same queue as the readings:
// what was dropped between two numbers was published between them, too, and the reading
// behind it arrives after the first one.
type drops struct {
	shared bool  // by a group: each member would count the same
	known  bool  // total and at are those of this connection
	total  int64 // the last number
	at     int64 // when it arrived, Unix milliseconds
	warned time.Time
	unsaid int64 // messages that no warning has counted
}

// decode makes an item of a message with the number, which arrived at a time. The first one
// of a connection, and the retained one that the broker sends for the subscription, only say
// where the count begins. A second copy may have been counted by an earlier connection.
func (d *drops) decode(m subscribe.Message, at int64, log *slog.Logger) store.Item {
	it := store.Item{At: at, Topic: m.Topic, Payload: m.Payload, Size: m.Size, Message: message.Ignored{}}
	total, err := strconv.ParseInt(string(m.Payload), 10, 64)
	if err != nil || total < 0 || m.Duplicate || d.shared {
		return it
	}
	// A smaller number is that of a broker that has started again.
	if n := total - d.total; d.known && !m.Retained && n > 0 {
		since := max(d.at, at-maxCountDelay.Milliseconds())
		it.Message = message.Drops{Since: since, Total: total, Count: n}
		d.warn(n, log)
	}
	d.known, d.total, d.at = true, total, at
	return it
}

// warn logs how many messages were dropped, at most once in warnEvery.
func (d *drops) warn(n int64, log *slog.Logger) {
	d.unsaid += n
	if !d.warned.IsZero() && time.Since(d.warned) < warnEvery {
		return
	}
	log.Warn("the broker drops messages of full queues, the recorder's or those of other clients: "+
		"raise max_queued_messages, or set drain.rate of the agents", "dropped", d.unsaid)
	d.warned, d.unsaid = time.Now(), 0
}
