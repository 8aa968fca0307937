package mqtt

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheKeepAliveIsWrittenIntoCONNECT: the library writes 0, the broker gets ours; a
// packet of another type, and one that is cut off, stay as they are.
func TestTheKeepAliveIsWrittenIntoCONNECT(t *testing.T) {
	connect := []byte{0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 5, 'p', 'o', 'r', 'c', 'h'}
	long := append([]byte{0x10, 0x80, 1}, connect[2:]...) // a remaining length of two bytes
	for name, c := range map[string]struct{ packet, want []byte }{
		"CONNECT":                         {connect, []byte{10: 0x01, 11: 0x2c}},
		"with a length of two bytes":      {long, []byte{11: 0x01, 12: 0x2c}},
		"PUBLISH":                         {append([]byte{0x30}, connect[1:]...), nil},
		"cut off in front of the seconds": {connect[:11], nil},
		"its length is cut off":           {[]byte{0x10, 0x80}, nil},
		"nothing":                         {nil, nil},
	} {
		want := bytes.Clone(c.packet)
		for i, b := range c.want {
			want[i] |= b
		}
		got := bytes.Clone(c.packet)
		setKeepAlive(got, 300*time.Second)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: % x, want % x", name, got, want)
		}
	}
}

// TestPingEachKeepAlive: a PINGREQ goes out each keepalive while the broker answers, and
// the first without an answer ends the connection one keepalive later.
func TestPingEachKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		lost := make(chan error, 1)
		w := newWire(near, Limits{Write: time.Second, Silence: time.Hour}, func(err error) {
			select {
			case lost <- err:
			default:
			}
		})
		w.keepAlive = 15 * time.Second
		w.open.Store(true)
		var ended []time.Duration
		began := time.Now()
		go func() { w.ping(); ended = append(ended, time.Since(began)) }()
		go func() { // as the library does
			packet := make([]byte, 2)
			for {
				if _, err := w.Read(packet); err != nil {
					return
				}
			}
		}()
		for i := range 3 {
			got := make([]byte, 2)
			if _, err := far.Read(got); err != nil || !bytes.Equal(got, pingRequest) {
				t.Fatalf("got % x, %v", got, err)
			}
			if at, want := time.Since(began), time.Duration(i+1)*w.keepAlive; at != want {
				t.Errorf("PINGREQ after %v, want %v", at, want)
			}
			if i < 2 {
				far.Write([]byte{packetPingresp << 4, 0})
			}
		}
		if err := <-lost; !strings.Contains(err.Error(), "no PINGRESP in 15s") {
			t.Errorf("lost: %v", err)
		}
		if at := time.Since(began); at != 4*w.keepAlive {
			t.Errorf("lost after %v", at)
		}
		w.drop()
		far.Close()
		synctest.Wait()
		if len(ended) != 1 {
			t.Error("ping has not ended")
		}
	})
}
