// Package link makes a network link bad: slow and long as a modem's, or cut in the
// middle of a message. It is for tests and benches.
package link

import (
	"maps"
	"math"
	"net"
	"sync"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/cable"
)

// A Link is a cable that can be cut at a byte. Its methods may be called from any
// goroutine.
type Link struct {
	*cable.Cable
	up, down *direction // nil: neither slow nor long

	mu     sync.Mutex        // guards what follows
	conns  map[net.Conn]bool // that are read from: both ends of each connection
	ending map[net.Conn]bool // of these, what a cut is about to close: nothing of it passes any more
	left   int               // bytes that pass before the next cut, either way
}

// never is more bytes than a link carries.
const never = math.MaxInt

// New lays a link to a TCP address. The zero Shape is quick and short. The tap of a
// link with a shape gets packet by packet: what one write of the sender's put on
// the link, if it had room for it. tap may be nil.
//
// A packet without data costs nothing. While both ends talk, acknowledgements of
// TCP's travel with the data.
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

// Cut breaks every connection; new ones pass.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = never
	reset(l.conns)
}

// reset closes connections so that nothing of what is under way arrives.
func reset(conns map[net.Conn]bool) {
	for conn := range conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	}
}

// Pull breaks every connection and refuses new ones. A cut that was waiting for
// its byte is forgotten.
func (l *Link) Pull() {
	l.mu.Lock()
	l.left = never
	l.mu.Unlock()
	l.Cable.Pull()
}

// CutAfter breaks every connection when n more bytes have passed, either way:
// in the middle of a message, and of a packet. It reports false if there is
// none that could be cut.
func (l *Link) CutAfter(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) == 0 {
		return false
	}
	l.left = n
	return true
}

// pass returns how much of some data gets through, and whether that is all. After the
// last byte before a cut it returns the connections to reset, too: those that there
// are now. One that is made while these end is another.
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

// carry is cable.Link.Carry.
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
