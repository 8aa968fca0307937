package subscribe

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// published is a PUBLISH at QoS 1 as a broker sends it.
func published(version byte, topic, payload string) []byte {
	body := append(appendText(nil, topic), 0, 7)
	if version == 5 {
		body = append(body, 5, 0x02, 0, 0, 0, 9) // a message expiry interval
	}
	return packet(0x32, append(body, payload...))
}

func readOne(t testing.TB, b []byte, version byte) (Message, error) {
	t.Helper()
	r := bufio.NewReaderSize(bytes.NewReader(b), 16)
	h, err := readHeader(r)
	if err != nil {
		return Message{}, err
	}
	m, err := readPublish(r, h, version, 100, 10)
	if rest, _ := io.ReadAll(r); err == nil && len(rest) > 0 {
		t.Errorf("%d bytes are left", len(rest))
	}
	return m, err
}

func TestPublishIsReadInBothVersions(t *testing.T) {
	for _, version := range []byte{4, 5} {
		m, err := readOne(t, published(version, "porch/hum", "45"), version)
		if err != nil || m.Topic != "porch/hum" || string(m.Payload) != "45" || m.Size != 2 || m.id != 7 {
			t.Errorf("%d: %+v %v", version, m, err)
		}
		m, err = readOne(t, published(version, "porch/hum", strings.Repeat("x", 1<<20)), version)
		if err != nil || len(m.Payload) != 10 || m.Size != 1<<20 {
			t.Errorf("%d: of a large payload %d bytes of %d: %v", version, len(m.Payload), m.Size, err)
		}
	}
}

func TestTruncatedPacketIsAnError(t *testing.T) {
	for _, version := range []byte{4, 5} {
		whole := published(version, "porch/hum", "45")
		for n := range len(whole) {
			if _, err := readOne(t, whole[:n], version); err == nil {
				t.Errorf("version %d, %d bytes of %d are taken", version, n, len(whole))
			}
		}
	}
	for _, b := range [][]byte{
		{0x32, 0xff, 0xff, 0xff, 0xff, 0x7f}, // a length of five bytes
		{0x32, 3, 0, 9, 'x'},                 // a topic that is longer than the packet
		{0x34, 5, 0, 1, 'x', 0, 1},           // QoS 2
		{0x32, 5, 0, 1, 'x', 0, 0},           // no identifier
	} {
		if _, err := readOne(t, b, 4); !errors.Is(err, errPacket) {
			t.Errorf("% x: %v", b, err)
		}
	}
}

func FuzzPublish(f *testing.F) {
	f.Add(published(4, "porch/hum", "45"), false)
	f.Add(published(5, "porch/hum", strings.Repeat("x", 200)), true)
	f.Fuzz(func(t *testing.T, b []byte, five bool) {
		version := byte(4)
		if five {
			version = 5
		}
		r := bufio.NewReader(bytes.NewReader(b))
		h, err := readHeader(r)
		if err != nil {
			return
		}
		m, err := readPublish(r, h, version, 100, 10)
		if err == nil && (len(m.Payload) > 100 || m.Size < len(m.Payload) || m.Size > h.length) {
			t.Errorf("%+v of %d bytes", m, h.length)
		}
	})
}

func TestServerKeepAlive(t *testing.T) {
	for text, want := range map[string]uint16{
		"\x00\x00\x00":             0,
		"\x00\x00":                 0, // of 3.1.1
		"\x00\x00\x03\x13\x00\x0a": 10,
		"\x00\x00\x0c\x12\x00\x02ab\x21\x00\x14\x13\x01\x00\x2a":     0, // ends in a property without a value
		"\x00\x00\x0d\x12\x00\x02ab\x21\x00\x14\x13\x01\x00\x2a\x01": 256,
		"\x00\x00\x09\x26\x00\x01a\x00\x01b\x13\x00":                 0,
		"\x00\x00\x0a\x26\x00\x01a\x00\x01b\x13\x00\x05":             5,
		"\x00\x00\x03\x7f\x00\x0a":                                   0, // unknown
	} {
		if got := serverKeepAlive([]byte(text)); got != want {
			t.Errorf("% x: %d, want %d", text, got, want)
		}
	}
}
