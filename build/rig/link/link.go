// Package link simulates a bad network link: slow and with a long delay, like a modem's, or
// cut in the middle of a message. It is for tests and benchmarks.
package link

import (
	"maps"
	"math"
	"net"
	"sync"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// A Link is a cable that can be cut after a number of bytes. Its methods may be called from
// any goroutine.
type Link struct {
	*cable.Cable
	up, down *direction // nil: no limit of the rate, and no delay

	mu     sync.Mutex        // guards the fields below
	conns  map[net.Conn]bool // both ends of each connection
	ending map[net.Conn]bool // those that a cut is about to close: they pass nothing any more
	left   int               // bytes until the next cut, in both directions together
}

// never is a number of bytes that a link never reaches.
const never = math.MaxInt

// New creates a link to a TCP address. The zero Shape has no limit and no delay. The tap of
// a link with a shape is called once per packet: for the data of one write of the sender,
// if the link had room for it. tap may be nil.
//
// A packet without data costs nothing. While both ends send, TCP acknowledgements are part
// of the data packets.
func New(target string, tap func() cable.Tap, s Shape) (*Link, error) {
	l := &Link{left: never, conns: map[net.Conn]bool{}, ending: map[net.Conn]bool{}}
	how := cable.Link{Carry: l.carry}
	if s != (Shape{}) {
		l.up, l.down = newDirection(s), newDirection(s)
		how.Control, how.Connect = smallBuffers, l.up.roundTrip
	}
	var err error
	l.Cable, err = cable.New(target, tap, how)
	return l, err
}

// Cut resets every connection; new ones are accepted.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = never
	reset(l.conns)
}

// reset closes connections so that data in flight does not arrive.
func reset(conns map[net.Conn]bool) {
	for conn := range conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	}
}

// Pull resets every connection and refuses new ones. It cancels a pending CutAfter.
func (l *Link) Pull() {
	l.mu.Lock()
	l.left = never
	l.mu.Unlock()
	l.Cable.Pull()
}

// CutAfter resets every connection after n more bytes in either direction: in the middle of
// a message, and of a packet. It is false if there is no connection.
func (l *Link) CutAfter(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) == 0 {
		return false
	}
	l.left = n
	return true
}

// pass returns the part of some data that gets through, and whether that is all of it.
// After the last byte before a cut it also returns the connections to reset: those that
// exist now, and not one that is opened while these end.
func (l *Link) pass(from net.Conn, data []byte) (through []byte, whole bool, cut map[net.Conn]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending[from] {
		return nil, false, nil
	}
	if l.left > len(data) {
		if l.left != never {
			l.left -= len(data)
		}
		return data, true, nil
	}
	through, l.left = data[:l.left], never
	maps.Copy(l.ending, l.conns)
	return through, false, maps.Clone(l.conns)
}

// carry implements cable.Link.Carry.
func (l *Link) carry(from net.Conn, up bool, deliver func([]byte) bool) {
	l.mu.Lock()
	l.conns[from] = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.conns, from)
		delete(l.ending, from)
		l.mu.Unlock()
	}()
	direction := l.down
	if up {
		direction = l.up
	}
	cutting := func(data []byte) bool {
		through, whole, cut := l.pass(from, data)
		delivered := deliver(through)
		reset(cut)
		return delivered && whole
	}
	if direction != nil {
		direction.carry(from, cutting)
		return
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !cutting(buf[:n]) {
			return
		}
	}
}
