package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// smallSegment is how many bytes of TCP every host takes that speaks IPv4: RFC
// 9293, section 3.7.1. Messages are hardly larger, so it costs little.
const smallSegment = 536

const (
	stallsToShrink = 2               // connections in a row that stalled soon
	stallSoon      = 5 * time.Minute // after the start of a connection
	stallRetrans   = 2               // times that the kernel sent something again
	keepSegments   = 24 * time.Hour  // then larger ones are tried again
)

// segments finds a path that loses large packets without a word: a tunnel or a
// modem with a small MTU, behind something that drops the ICMP messages that say
// so (RFC 2923, section 2.1). Small packets pass, so the connection is made, and
// stalls with the first large one, again and again. Connections get smaller
// segments then, both ways.
type segments struct {
	mu     sync.Mutex
	small  bool
	since  time.Time // when it became so
	stalls int       // connections in a row that were made at once and stalled soon
}

// limit is the bound for a new connection; 0: none.
func (s *segments) limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.small && time.Since(s.since) > keepSegments {
		s.small, s.stalls = false, 0
	}
	if s.small {
		return smallSegment
	}
	return 0
}

// unreachable takes note that no connection was made: the link is down, and the
// stall before it proves nothing.
func (s *segments) unreachable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalls = 0
}

// ended takes note of the end of a connection that began at a time, and adds to
// the reason what follows from it.
func (s *segments) ended(why error, stalled bool, began time.Time) error {
	if !stalled || time.Since(began) > stallSoon {
		s.unreachable()
		return why
	}
	if s.shrinks() {
		return fmt.Errorf("%w: small packets pass and large ones are lost without a word, so packets carry %d bytes "+
			"at most from now on: %s",
			why, smallSegment, mendPath)
	}
	return why
}

const mendPath = "mend the path's MTU, or set net.ipv4.tcp_mtu_probing=1 (sysctl)"

// notMade takes note of a connection that was not made. A server that takes the
// connection and does not answer may have sent a large certificate.
func (s *segments) notMade(why error) error {
	var op *net.OpError
	timeout := errors.Is(why, os.ErrDeadlineExceeded) || errors.Is(why, context.DeadlineExceeded)
	if !timeout || errors.As(why, &op) && op.Op == "dial" {
		s.unreachable()
		return why
	}
	if s.shrinks() {
		return fmt.Errorf("%w: perhaps the path loses large packets, so they carry %d bytes at most from now on: if "+
			"that helps, %s",
			why, smallSegment, mendPath)
	}
	return why
}

// shrinks counts a stall, and says that segments are small from now on. If small
// ones stall too, the link is bad, and large ones are no worse.
func (s *segments) shrinks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalls++; s.stalls < stallsToShrink {
		return false
	}
	s.small, s.stalls, s.since = !s.small, 0, time.Now()
	return s.small
}

// stalled says that a connection waits for the acknowledgement of more than a
// small segment, although the kernel sent it again.
func stalled(conn net.Conn) bool {
	tcp := tcpOf(conn)
	if tcp == nil {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var info *unix.TCPInfo
	failed := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP,
			unix.TCP_INFO)
	})
	if failed != nil || err != nil || info.Total_retrans < stallRetrans {
		return false
	}
	waiting := info.Bytes_sent - info.Bytes_retrans - info.Bytes_acked
	return waiting < 1<<62 && waiting > smallSegment
}

// bound sets the limit on a socket before it connects, which tells the other end
// too.
func bound(fd uintptr, segment int) error {
	if segment == 0 {
		return nil
	}
	err := syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, segment)
	return os.NewSyscallError("setsockopt TCP_MAXSEG", err)
}

// tcpOf is the socket under TLS and WebSocket; nil if there is none.
func tcpOf(conn net.Conn) *net.TCPConn {
	switch c := conn.(type) {
	case *net.TCPConn:
		return c
	case *limitedConn:
		return tcpOf(c.Conn)
	case interface{ NetConn() net.Conn }:
		return tcpOf(c.NetConn())
	}
	return nil
}
