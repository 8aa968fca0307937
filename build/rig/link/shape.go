package link

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// A Shape limits the rate of a link and adds a delay, as with a modem. All connections
// share it.
type Shape struct {
	Rate   int           // bits a second in each direction; 0: no limit
	Delay  time.Duration // in each direction
	Buffer int           // bytes that may be queued in each direction; then the sender blocks
}

const (
	// Segment is the maximum number of bytes of a connection in one packet.
	Segment = 1400
	// Header is the overhead of a packet: IPv4, TCP and its timestamps.
	Header = 20 + 20 + 12
)

// smallBuffers limits the kernel's buffers, which would otherwise accept megabytes that the
// link has not carried. It limits the packets too, as a modem does.
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

// A direction is one direction of a link.
type direction struct {
	Shape
	mu   sync.Mutex
	free time.Time // when all that was accepted is sent
}

func newDirection(s Shape) *direction { return &direction{Shape: s} }

// roundTrip waits for the round trip time of the shortest packet.
func (l *direction) roundTrip() { time.Sleep(2 * (l.takes(Header) + l.Delay)) }

func (l *direction) takes(bytes int) time.Duration {
	if l.Rate == 0 {
		return 0
	}
	return time.Duration(bytes) * 8 * time.Second / time.Duration(l.Rate)
}

// A packet is in flight.
type packet struct {
	data    []byte
	arrives time.Time
}

// carry reads packets from a connection and delivers each at its time, until the connection
// ends or a delivery fails.
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
		for range underway { // discard the remaining packets
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

// send queues a packet and returns its time of arrival.
func (l *direction) send(bytes int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(l.takes(bytes))
	return l.free.Add(l.Delay)
}
