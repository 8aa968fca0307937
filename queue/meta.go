package queue

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// The file keeps what the timekeeper knows of the kernel's boots, so that what
// was stamped before anybody knew the time gets it in a later start, too.

// timelineChanged says that the file knows less of the clock than there is to know.
func (s *storage) timelineChanged(c *clock.Timekeeper) bool { return c.Version() != s.savedTimeline }

// encodeClock is a timeline as the file keeps it: a checksum, since a wrong one
// would move readings in time, and JSON.
func encodeClock(boots clock.Timeline) []byte {
	data, err := json.Marshal(boots)
	if err != nil {
		panic(fmt.Sprint("queue: clock: ", err)) // strings and numbers always marshal
	}
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)), data...)
}

// decodeClock is the timeline in a value, none if it is damaged: then readings that
// were stamped before the time was known keep the time of their stamp.
func decodeClock(value []byte) (boots clock.Timeline) {
	if len(value) < 4 || crc32.Checksum(value[4:], castagnoli) != binary.BigEndian.Uint32(value) {
		return nil
	}
	if json.Unmarshal(value[4:], &boots) != nil {
		return nil
	}
	return boots
}

// cursorValue is a cursor with its checksum: a wrong one could pass over
// everything that waits.
func cursorValue(n uint64) []byte {
	b := key(n)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// cursorOf is the cursor in a value, 0 if there is none or it is damaged: then what
// was acknowledged comes again, which is better than to lose what was not.
func cursorOf(value []byte) uint64 {
	if len(value) != 12 || crc32.Checksum(value[:8], castagnoli) != binary.BigEndian.Uint32(value[8:]) {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// The file keeps the client ID whose readings it holds. A card that was cloned
// from a running Pi brings that one's backlog along, and it must not be sent
// under another client ID. A file without one is from an older agent: ours.
var keyOwner = []byte("client id")

// encodeOwner is a client ID as the file keeps it. It has a checksum: a wrong
// one would move our own backlog aside.
func encodeOwner(id string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum([]byte(id), castagnoli)), id...)
}

// decodeOwner is the client ID in a value, "" if there is none or it is damaged.
// The ID becomes part of a file's name.
func decodeOwner(value []byte) string {
	if len(value) < 4 || crc32.Checksum(value[4:], castagnoli) != binary.BigEndian.Uint32(value) {
		return ""
	}
	if id := string(value[4:]); sensors.IsName(id) {
		return id
	}
	return ""
}
