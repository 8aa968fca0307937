package mqtt

import (
	"bufio"
	"bytes"
	"errors"
	"testing"
)

func TestLimitsAreReadFromTheConnackOfMQTT5(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		want BrokerLimits
		err  bool
	}{
		"no limits": {[]byte{0, 0, 0}, BrokerLimits{MaxQoS: 2}, false},
		"all limits": {append([]byte{0, 0, 9}, 0x24, 1, 0x25, 0, 0x27, 0, 0, 0x10, 0),
			BrokerLimits{4096, 1, true}, false},
		"others beside them": {append([]byte{1, 0, 22},
			0x26, 0, 1, 'a', 0, 2, 'b', 'c', 0x12, 0, 2, 'i', 'd', 0x22, 0, 10, 0x13, 0, 30, 0x25, 1, 0x2a),
			BrokerLimits{MaxQoS: 2}, true},
		"cut short":  {[]byte{0, 0, 3, 0x27, 0, 0}, BrokerLimits{MaxQoS: 2}, true},
		"MQTT 3.1.1": {[]byte{0, 0}, BrokerLimits{MaxQoS: 2}, true},
		"refused":    {[]byte{0, 0x87, 0}, BrokerLimits{MaxQoS: 2}, true},
		"unknown":    {[]byte{0, 0, 2, 0x7e, 0}, BrokerLimits{MaxQoS: 2}, true},
		"empty":      {nil, BrokerLimits{MaxQoS: 2}, true},
	} {
		got, err := limitsIn(append([]byte{0x20, byte(len(c.body))}, c.body...))
		if got != c.want || (err != nil) != c.err || err != nil && !errors.Is(err, ErrNoLimits) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

// FuzzLimits: whatever a broker answers, it is an answer or an error.
func FuzzLimits(f *testing.F) {
	f.Add([]byte{0x20, 3, 0, 0, 0})
	f.Add([]byte{0x20, 12, 0, 0, 9, 0x24, 1, 0x25, 0, 0x27, 0, 0, 0x10, 0})
	f.Add([]byte{0x20, 2, 0, 1})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add([]byte{0x20, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x20, 8, 0, 0, 5, 0x26, 0, 1, 'a', 0xff})
	f.Fuzz(func(t *testing.T, answer []byte) {
		packet, err := readConnack(bufio.NewReader(bytes.NewReader(answer)))
		if err != nil {
			return
		}
		l, err := limitsIn(packet)
		if err == nil && (l.MaxPacket < 0 || len(packet) < 5) {
			t.Errorf("% x: %+v", answer, l)
		}
	})
}
