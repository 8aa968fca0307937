package link

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// A Shape makes a link slow and long, as a modem's is. All connections share it.
type Shape struct {
	Rate   int           // bits a second, each way; 0: any
	Delay  time.Duration // each way
	Buffer int           // bytes that wait for their turn, each way; the sender of more waits
}

const (
	// Segment is how many bytes of a connection travel in one packet at most.
	Segment = 1400
	// Header is what a packet costs besides: IPv4, TCP and its timestamps.
	Header = 20 + 20 + 12
)

// smallBuffers keeps the kernel from hiding the link: else it takes megabytes that
// the link has not carried. It bounds the packets too, as a modem does.
func smallBuffers(_, _ string, c syscall.RawConn) error {
	const receive = 4 << 10 // the kernel doubles it
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receive)
		if failed == nil {
			failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, Segment)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// A direction is one way of a link.
type direction struct {
	Shape
	mu   sync.Mutex
	free time.Time // when all that was accepted is sent
}

func newDirection(s Shape) *direction { return &direction{Shape: s} }

// roundTrip waits as long as the shortest packet is under way, there and back.
func (l *direction) roundTrip() { time.Sleep(2 * (l.takes(Header) + l.Delay)) }

func (l *direction) takes(bytes int) time.Duration {
	if l.Rate == 0 {
		return 0
	}
	return time.Duration(bytes) * 8 * time.Second / time.Duration(l.Rate)
}

// A packet is under way.
type packet struct {
	data    []byte
	arrives time.Time
}

// carry takes packets from a connection and delivers each in its time, until
// the connection ends or a delivery fails.
func (l *direction) carry(from net.Conn, deliver func([]byte) bool) {
	underway := make(chan packet, 4096)
	var arriving sync.WaitGroup
	arriving.Go(func() {
		for p := range underway {
			time.Sleep(time.Until(p.arrives))
			if !deliver(p.data) {
				break
			}
		}
		from.Close()
		for range underway { // nobody waits for it
		}
	})
	for buf := make([]byte, Segment); ; {
		l.wait()
		n, err := from.Read(buf)
		if err != nil {
			break
		}
		underway <- packet{append([]byte(nil), buf[:n]...), l.send(n + Header)}
	}
	close(underway)
	arriving.Wait()
}

// wait waits until the buffer has room for a packet.
func (l *direction) wait() {
	l.mu.Lock()
	full := l.free.Add(-l.takes(l.Buffer))
	l.mu.Unlock()
	time.Sleep(time.Until(full))
}

// send puts a packet behind all others and says when it arrives.
func (l *direction) send(bytes int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(l.takes(bytes))
	return l.free.Add(l.Delay)
}
