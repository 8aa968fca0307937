package queue

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/holdfast-iot/holdfast/sensors"
	"github.com/holdfast-iot/holdfast/sensors/clock"
)

// The file stores the timeline of the timekeeper, so that also a later start can find the
// time of readings that were stamped before the time was known.

// timelineChanged reports whether the file has an older timeline than the clock.
func (s *storage) timelineChanged(c *clock.Timekeeper) bool { return c.Version() != s.savedTimeline }

// encodeClock makes the stored form of a timeline: a checksum and JSON. The checksum is
// needed because a damaged timeline would give readings a wrong time.
func encodeClock(boots clock.Timeline) []byte {
	data, err := json.Marshal(boots)
	if err != nil {
		panic(fmt.Sprint("queue: clock: ", err)) // strings and numbers always marshal
	}
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)), data...)
}

// decodeClock returns the timeline in a value, or nil if it is damaged: then readings that
// were stamped before the time was known keep their original time.
func decodeClock(value []byte) (boots clock.Timeline) {
	if len(value) < 4 || crc32.Checksum(value[4:], castagnoli) != binary.BigEndian.Uint32(value) {
		return nil
	}
	if json.Unmarshal(value[4:], &boots) != nil {
		return nil
	}
	return boots
}

// cursorValue makes the stored form of a cursor, with a checksum: with a damaged cursor,
// everything that waits could be skipped.
func cursorValue(n uint64) []byte {
	b := key(n)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// cursorOf returns the cursor in a value, or 0 if it is missing or damaged: then
// acknowledged items are sent again, which is better than losing others.
func cursorOf(value []byte) uint64 {
	if len(value) != 12 || crc32.Checksum(value[:8], castagnoli) != binary.BigEndian.Uint32(value[8:]) {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// keyOwner is the key of the client ID that the readings in the file belong to. An SD card
// that is a copy of another Pi's card contains that Pi's backlog, which must not be sent
// with our client ID. A file without a client ID is from an older agent and counts as ours.
var keyOwner = []byte("client id")

// encodeOwner makes the stored form of a client ID. It has a checksum, because with a
// damaged one our own backlog would be moved aside.
func encodeOwner(id string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, crc32.Checksum([]byte(id), castagnoli)), id...)
}

// decodeOwner returns the client ID in a value, or "" if it is missing or damaged. It
// checks the characters, because the ID becomes a part of a file name.
func decodeOwner(value []byte) string {
	if len(value) < 4 || crc32.Checksum(value[4:], castagnoli) != binary.BigEndian.Uint32(value) {
		return ""
	}
	if id := string(value[4:]); sensors.IsName(id) {
		return id
	}
	return ""
}
