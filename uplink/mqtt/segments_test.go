package mqtt

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mqtttest"
	"golang.org/x/sys/unix"
)

// TestOnlyStallsInARowShrinkSegments: a link that is dead stalls too, but no
// connection is made over it at once.
func TestOnlyStallsInARowShrinkSegments(t *testing.T) {
	gone := os.NewSyscallError("read", syscall.ETIMEDOUT)
	handshake := context.DeadlineExceeded
	dial := &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	stall := func(s *segments) error { return s.ended(gone, true, time.Now()) }
	for name, c := range map[string]struct {
		do    func(*segments) error // the last thing that happens
		small bool
	}{
		"one stall":  {stall, false},
		"two stalls": {func(s *segments) error { stall(s); return stall(s) }, true},
		"two, and a dead link between": {func(s *segments) error { stall(s); s.notMade(dial); return stall(s) },
			false},
		"two, and a good one between": {func(s *segments) error {
			stall(s)
			s.ended(gone, false,
				time.Now())
			return stall(s)
		}, false},
		"two of long sessions": {func(s *segments) error {
			stall(s)
			return s.ended(gone, true,
				time.Now().Add(-time.Hour))
		}, false},
		"two handshakes without " +
			"answer": {func(s *segments) error { s.notMade(handshake); return s.notMade(handshake) }, true},
		"small ones stall too": {func(s *segments) error { stall(s); stall(s); stall(s); return stall(s) },
			false},
		"a day later": {func(s *segments) error {
			stall(s)
			stall(s)
			time.Sleep(keepSegments +
				1)
			return nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s segments
				err := c.do(&s)
				if got := s.limit(); (got == smallSegment) != c.small || !c.small && got != 0 {
					t.Errorf("segments of %d bytes", got)
				}
				if explained := err != nil && strings.Contains(err.Error(), "tcp_mtu_probing"); explained != c.small {
					t.Errorf("got %v", err)
				}
				if err != nil && !errors.Is(err, gone) && !errors.Is(err, handshake) {
					t.Errorf("the reason is lost: %v", err)
				}
			})
		})
	}
}

// TestSegmentsAreLimitedInBothDirections also under TLS and WebSocket, where the socket is
// found to ask the kernel.
func TestSegmentsAreLimitedInBothDirections(t *testing.T) {
	sizes := make(chan int, 1)
	f := mqtttest.NewBroker(t, func(s *mqtttest.Conn) {
		sizes <- sendSegment(t, s.Conn)
		s.Linger()
	})
	defer f.Stop()
	opt := Broker{KeepAlive: 15 * time.Second, segment: smallSegment}
	conn, err := openSocket(t.Context(), opt, &url.URL{Scheme: "mqtt", Host: f.Listener.Addr().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if size := sendSegment(t, conn); size > smallSegment {
		t.Errorf("we send segments of %d bytes", size)
	}
	if size := <-sizes; size > smallSegment {
		t.Errorf("the server sends segments of %d bytes", size)
	}
	if stalled(conn) {
		t.Error("a connection over which nothing was sent has stalled")
	}
	if tcpOf(&limitedConn{Conn: conn}) == nil {
		t.Error("the socket of a WebSocket is not found")
	}
}

func sendSegment(t *testing.T, conn net.Conn) (size int) {
	raw, err := tcpOf(conn).SyscallConn()
	if err != nil {
		t.Error(err)
		return 0
	}
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Error(err)
			return
		}
		size = int(info.Snd_mss)
	})
	return size
}
