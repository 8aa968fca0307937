package clock

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// chrony's command protocol, version 6, as in its candm.h: all numbers are big
// endian, and a request is as long as its reply, here 104 bytes.
const (
	chronyVersion  = 6
	chronyRequest  = 1
	chronyReply    = 2
	chronyTracking = 33 // the command
	chronyTracked  = 5  // the reply
	chronyLength   = 104
	chronyUnsynced = 3 // leap status: not synchronised

	chronyTimeout = 200 * time.Millisecond
)

// chronySynced asks chronyd on this machine whether it has the time and has set
// the clock to it. Without chronyd the answer comes at once: no.
//
// It asks the kernel without package net, whose poller and deadline would wake other
// threads, one of them 200 ms later although the answer came at once.
func chronySynced(address string) bool {
	server, err := netip.ParseAddrPort(address)
	if err != nil || !server.Addr().Is4() {
		return false
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(chronyTimeout.Nanoseconds())
	if unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit) != nil ||
		unix.Connect(fd, &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}) != nil {
		return false
	}
	var ask, answer [chronyLength]byte
	sequence := rand.Uint32()
	ask[0], ask[1] = chronyVersion, chronyRequest
	binary.BigEndian.PutUint16(ask[4:], chronyTracking)
	binary.BigEndian.PutUint32(ask[8:], sequence)
	if _, err := unix.Write(fd, ask[:]); err != nil {
		return false
	}
	n, err := unix.Read(fd, answer[:]) // a signal ends it: it is asked again in ten seconds
	return err == nil && chronyInSync(answer[:n], sequence)
}

// chronyInSync reads an answer: it is in sync, and the clock is within a second
// of what it should be.
func chronyInSync(b []byte, sequence uint32) bool {
	if len(b) < chronyLength || b[0] != chronyVersion || b[1] != chronyReply ||
		binary.BigEndian.Uint16(b[6:]) != chronyTracked || binary.BigEndian.Uint16(b[8:]) != 0 ||
		binary.BigEndian.Uint32(b[16:]) != sequence {
		return false
	}
	leap, off := binary.BigEndian.Uint16(b[54:]), chronyFloat(binary.BigEndian.Uint32(b[68:]))
	return leap < chronyUnsynced && math.Abs(off) < 1
}

// chronyFloat is a number of 7 bits of exponent and 25 of coefficient, both
// signed: coefficient * 2^(exponent-25).
func chronyFloat(x uint32) float64 {
	exponent, coefficient := int32(x)>>25, int32(x<<7)>>7
	return math.Ldexp(float64(coefficient), int(exponent-25))
}
