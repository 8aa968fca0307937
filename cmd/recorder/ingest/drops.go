package ingest

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/recorder/message"
	"github.com/holdfast-iot/holdfast/cmd/recorder/store"
	"github.com/holdfast-iot/holdfast/cmd/recorder/subscribe"
)

// droppedTopic is where Mosquitto publishes how many messages it has dropped since it started,
// for all its clients. It publishes the number once per sys_interval if it has changed.
const droppedTopic = "$SYS/broker/publish/messages/dropped"

const (
	// maxCountDelay is the longest time from the drop of a message to the arrival of the number
	// that counts it. Usually this is sys_interval, 10 s. It is longer if the queue is too full
	// for the message with the number: then a later one counts the drop.
	maxCountDelay = 5 * time.Minute
	warnEvery     = 10 * time.Minute // shortest time between two warnings of dropped messages
)

// drops follows the broker's count of dropped messages. Only the reader of the current
// connection uses it.
//
// We subscribe to the count at QoS 1, so the broker sends it through the same queue as the
// readings. So a message that was dropped between two counts was published between them, and
// the next reading of its stream arrives after the first count.
type drops struct {
	shared     bool  // we are in a group, where each member would count the same: ignore the counts
	known      bool  // total and at were set on this connection
	total      int64 // the last number
	at         int64 // when it arrived, Unix milliseconds
	warned     time.Time
	unreported int64 // dropped messages since the last warning
}

// decode returns the item of a message with the count, which arrived at a time. The first
// count of a connection, and the retained one, only set where counting begins. Duplicates are
// ignored: an earlier connection may have counted them.
func (d *drops) decode(m subscribe.Message, at int64, log *slog.Logger) store.Item {
	it := store.Item{At: at, Topic: m.Topic, Payload: m.Payload, Size: m.Size, Message: message.Ignored{}}
	total, err := strconv.ParseInt(string(m.Payload), 10, 64)
	if err != nil || total < 0 || m.Duplicate || d.shared {
		return it
	}
	// A smaller number comes from a broker that has restarted.
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
	d.unreported += n
	if !d.warned.IsZero() && time.Since(d.warned) < warnEvery {
		return
	}
	log.Warn("the broker drops messages of full queues, the recorder's or those of other clients: "+
		"raise max_queued_messages, or set drain.rate of the agents", "dropped", d.unreported)
	d.warned, d.unreported = time.Now(), 0
}
