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

// smallSegment is the number of bytes in a TCP segment that every host with IPv4
// accepts: the default of RFC 9293, section 3.7.1. Messages are hardly larger, so
// it costs little.
const smallSegment = 536

const (
	stallsToShrink = 2               // so many connections in a row that stall early make segments small
	stallSoon      = 5 * time.Minute // what "early" means; later the link itself may have failed
	stallRetrans   = 2               // retransmissions of a stalled connection; one may be chance
	keepSegments   = 24 * time.Hour  // after this time larger segments are tried again: the path may have changed
)

// segments detects a path that loses large packets silently: a tunnel or a modem
// with a small MTU, behind a device that drops the ICMP messages which report it
// (RFC 2923, section 2.1). Small packets pass, so each connection is made, and
// stalls with its first large packet. Later connections use smaller segments then,
// in both directions. There is one for each server; it lives as long as the Dialer.
type segments struct {
	mu     sync.Mutex // guards the fields below, because Conn.end runs in any goroutine
	small  bool       // new connections use smallSegment
	since  time.Time  // when small became true
	stalls int        // connections in a row that stalled early
}

// limit returns the bytes of a segment for a new connection; 0: no limit.
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

// unreachable records that no connection was made: the link is down, and may have been the
// cause of the last stall, too.
func (s *segments) unreachable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalls = 0
}

// ended records the end of a connection that began at a time. stalled means that it waited
// for an acknowledgement of TCP. It returns why, with an explanation for a person if
// segments are small from now on.
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

// mendPath is what a person can do about such a path.
const mendPath = "mend the path's MTU, or set net.ipv4.tcp_mtu_probing=1 (sysctl)"

// notMade records that a connection was not made. A timeout after the TCP handshake
// counts as a stall: the server's certificate may have been in a large packet that
// was lost. The result is as for ended.
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

// shrinks counts a stall, and reports whether segments are small from now on because
// of it. If small ones stall as often, their size is not the cause, and large ones
// are used again.
func (s *segments) shrinks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalls++; s.stalls < stallsToShrink {
		return false
	}
	s.small, s.stalls, s.since = !s.small, 0, time.Now()
	return s.small
}

// stalled reports whether a connection waits for the acknowledgement of more bytes
// than a small segment has, although the kernel has sent them again: struct
// tcp_info in <linux/tcp.h>. It is false for a connection that is not TCP.
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
	return waiting < 1<<62 && waiting > smallSegment // above 1<<62 the difference is negative
}

// bound sets the maximum segment size of a socket: tcp(7), TCP_MAXSEG. It has to be
// called before the socket connects, so that the other end gets it in SYN and sends
// no larger ones either. 0 changes nothing.
func bound(fd uintptr, segment int) error {
	if segment == 0 {
		return nil
	}
	err := syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, segment)
	return os.NewSyscallError("setsockopt TCP_MAXSEG", err)
}

// tcpOf returns the socket below TLS and WebSocket; nil if there is none, as in
// tests.
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
