package queue

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// The file keeps what the timekeeper knows of the kernel's boots, so that what
// was stamped before anybody knew the time gets it in a later start, too.

// clockChanged says that the file knows less of the clock than there is to know.
func (q *Queue) clockChanged() bool { return q.opt.Clock.Version() != q.savedTimeline }

// encodeClock is a timeline as the file keeps it: a checksum, since a wrong one
// would move readings in time, and JSON.
func encodeClock(boots clock.Timeline) []byte {
	data, err := json.Marshal(boots)
	if err != nil {
		panic(fmt.Sprint("queue: clock: ", err)) // strings and numbers always marshal
	}
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)), data...)
}

// decodeClock is the timeline in a value, none if it is damaged.
func decodeClock(value []byte) (boots clock.Timeline) {
	if len(value) < 4 || crc32.Checksum(value[4:], castagnoli) != binary.BigEndian.Uint32(value) {
		return nil
	}
	if json.Unmarshal(value[4:], &boots) != nil {
		return nil
	}
	return boots
}
