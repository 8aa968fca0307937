package link

import (
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// modem is a link with 20 kbit/s and 600 ms round trip.
var modem = Shape{Rate: 20_000, Delay: 300 * time.Millisecond, Buffer: 4 << 10}

// arrivals sends writes of these sizes in one direction, and returns when each packet
// arrived and when each write returned.
func arrivals(t *testing.T, s Shape, sizes ...int) (arrived, taken []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		start := time.Now()
		go func() {
			for _, n := range sizes {
				near.Write(make([]byte, n))
				taken = append(taken, time.Since(start))
			}
			near.Close()
		}()
		newDirection(s).carry(far, func(data []byte) bool {
			arrived = append(arrived, time.Since(start))
			return true
		})
	})
	return arrived, taken
}

func TestPacketsTakeTheirTime(t *testing.T) {
	arrived, _ := arrivals(t, modem, 198, 198, Segment+48)
	carried := func(bytes int) time.Duration { return time.Duration(bytes) * 400 * time.Microsecond } // at 20 kbit/s
	want := []time.Duration{carried(250) + modem.Delay, carried(500) + modem.Delay,
		carried(500+Segment+Header) + modem.Delay, carried(500+Segment+Header+100) + modem.Delay}
	if !slices.Equal(arrived, want) {
		t.Errorf("packets arrive after %v, want %v", arrived, want)
	}
}

func TestTheBufferIsBounded(t *testing.T) {
	sizes := slices.Repeat([]int{948}, 100) // 1,000 bytes with their headers, 0.4 s each
	arrived, taken := arrivals(t, modem, sizes...)
	if len(arrived) != 100 || arrived[99] != 40*time.Second+modem.Delay {
		t.Errorf("%d packets, the last after %v; want 100 after %v", len(arrived), arrived[len(arrived)-1],
			40*time.Second+modem.Delay)
	}
	for i, at := range taken {
		if waiting := 1000*(i+1) - int(at/(400*time.Microsecond)); waiting > modem.Buffer+1000 {
			t.Fatalf("%d bytes wait when packet %d is taken, the buffer has %d", waiting, i, modem.Buffer)
		}
	}
}

func TestAllConnectionsShareTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newDirection(modem), time.Now()
		one, other := l.send(1000), l.send(1000)
		if a, b := one.Sub(start), other.Sub(start); a != 700*time.Millisecond || b != 1100*time.Millisecond {
			t.Errorf("two packets of 0.4 s arrive after %v and %v", a, b)
		}
	})
}

func TestSlowCableCarriesWhole(t *testing.T) {
	var p tape
	quick := Shape{Rate: 10_000_000, Delay: time.Millisecond, Buffer: 16 << 10}
	c, err := New(echo(t), func() cable.Tap { return &p }, quick)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := talk(t, c)
	if conn == nil {
		t.Fatal("no answer through the cable")
	}
	c.CutAfter(7) // five there, two back
	conn.Write([]byte("hello"))
	if n, _ := io.ReadFull(conn, make([]byte, 5)); n > 2 {
		t.Errorf("%d bytes of an answer after the cut", n)
	}
	c.Close()
	if p.up.String() != "hellohello" || p.down.String() != "hellohe" {
		t.Errorf("the tap saw %q and %q", p.up.String(), p.down.String())
	}
}
