package mdns

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// searchTimeout bounds a search. It allows four queries: Wi-Fi does not repeat
	// multicasts that are lost.
	searchTimeout = 3500 * time.Millisecond
	queryInterval = time.Second // between two queries, which is the least that RFC 6762, section 5.2, allows
	// settleTime is how long the search goes on after the first address, for addresses
	// of the other IP version and from other interfaces.
	settleTime = 150 * time.Millisecond
	maxLinks   = 16   // interfaces that are queried: a machine with containers may have hundreds
	maxAddrs   = 16   // addresses that are kept of one name
	maxPacket  = 9000 // bytes of a message: RFC 6762, section 17
	port       = 5353 // of multicast DNS: RFC 6762, section 3
)

// The multicast groups 224.0.0.251 and ff02::fb: RFC 6762, section 3.
var (
	group4 = [4]byte{224, 0, 0, 251}
	group6 = [16]byte{0: 0xff, 1: 0x02, 15: 0xfb}
)

// A link is a network interface with its addresses. It is not changed once links
// has made it.
type link struct {
	name     string
	index    int          // as the kernel numbers interfaces, from 1
	networks []*net.IPNet // each with the interface's own address in it
}

// near reports whether an address is in one of the interface's networks.
func (l *link) near(a netip.Addr) bool {
	for _, n := range l.networks {
		if n.Contains(a.AsSlice()) {
			return true
		}
	}
	return false
}

// matches reports whether bind is the interface's name, or one of its addresses
// with or without a zone.
func (l *link) matches(bind string) bool {
	host, _, _ := strings.Cut(bind, "%")
	ip := net.ParseIP(host)
	for _, n := range l.networks {
		if ip != nil && n.IP.Equal(ip) {
			return true
		}
	}
	return l.name == bind
}

// links returns the interfaces to query: the one that bind names (by its name or
// an address), else each one but the loopback that is up, has an address and
// supports multicast, maxLinks at most. The error says that there is none.
func links(bind string) ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var chosen []link
	for _, i := range all {
		const want = net.FlagUp | net.FlagMulticast
		l := link{name: i.Name, index: i.Index}
		addrs, _ := i.Addrs() // fails if the interface has gone since: then it has no networks
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				l.networks = append(l.networks, n)
			}
		}
		switch {
		case l.matches(bind):
			return []link{l}, nil
		case bind == "" && i.Flags&(want|net.FlagLoopback) == want && len(l.networks) > 0 && len(chosen) < maxLinks:
			chosen = append(chosen, l)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("no interface is up that takes multicasts")
	}
	return chosen, nil
}

// A source is an address and where it comes from.
type source struct {
	addr netip.Addr
	on   int // the index of the interface on which it was received; 0: unknown
}

// An inquiry queries several interfaces for one name. Only the goroutine of
// multicast changes it; the readers use received and their own socket.
type inquiry struct {
	wanted   name   // the host's name, or the last alias that it led to
	hops     int    // aliases that were followed by a new query; at most maxAliases
	id       uint16 // of all its queries; an answer repeats it
	sockets  []socket
	received chan datagram // unbuffered: a reader waits until run has decoded the message before
}

// A socket sends and receives on one interface by one IP version.
type socket struct {
	net.PacketConn
	link *link
	v4   bool // by IPv4; else by IPv6
}

// A datagram is a message as it was received, and the interface of its socket.
type datagram struct {
	message []byte
	link    *link
}

// multicast sends one-shot multicast DNS queries (RFC 6762, section 5.1) on each
// interface by IPv4 and IPv6. They come from any free port, not from 5353, so that
// answers are sent by unicast to this process alone. It returns the addresses that
// arrive until settleTime after the first; an error if none does.
func multicast(ctx context.Context, wanted name, on []link) ([]source, error) {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	q := &inquiry{wanted: wanted, id: uint16(rand.Uint32()), received: make(chan datagram)}
	var readers sync.WaitGroup
	defer readers.Wait()
	defer q.close()
	defer cancel()
	var failed error
	for i := range on {
		failed = errors.Join(failed, q.open(ctx, &on[i]))
	}
	if len(q.sockets) == 0 {
		return nil, failed
	}
	for _, s := range q.sockets {
		readers.Go(func() { q.read(ctx, s) })
	}
	return q.run(ctx)
}

// run repeats the query until there are addresses, or ctx is done. A message that
// cannot be decoded is ignored: any host may send one, and the answer may still
// come.
func (q *inquiry) run(ctx context.Context) (found []source, err error) {
	again := time.NewTicker(queryInterval)
	defer again.Stop()
	var settled <-chan time.Time // nil until the first address has arrived
	for q.send(); ; {
		select {
		case d := <-q.received:
			a, err := decode(d.message, q.id, q.wanted)
			if err != nil {
				continue
			}
			for _, addr := range a.addrs {
				if s := (source{addr, d.link.index}); !slices.Contains(found, s) && len(found) < maxAddrs {
					found = append(found, s)
				}
			}
			q.follow(a.alias)
			if len(found) > 0 && settled == nil {
				settled = time.After(settleTime)
			}
		case <-again.C:
			q.send()
		case <-settled:
			return found, nil
		case <-ctx.Done():
			if len(found) > 0 {
				return found, nil
			}
			return nil, errors.New("nobody answers multicast DNS")
		}
	}
}

// open adds the sockets for one interface. Its error may be ignored if there is a
// socket at all: an interface without IPv6 has none for it.
func (q *inquiry) open(ctx context.Context, l *link) (err error) {
	for _, network := range []string{"udp4", "udp6"} {
		s := socket{link: l, v4: network == "udp4"}
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return s.leaveBy(c) }}
		conn, failed := config.ListenPacket(ctx, network, ":0")
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		s.PacketConn = conn
		q.sockets = append(q.sockets, s)
	}
	return err
}

// leaveBy makes multicasts leave by the socket's interface, whatever the routing
// table has: ip(7), IP_MULTICAST_IF, and ipv6(7), IPV6_MULTICAST_IF.
func (s *socket) leaveBy(c syscall.RawConn) (err error) {
	failed := c.Control(func(fd uintptr) {
		if s.v4 {
			err = syscall.SetsockoptIPMreqn(int(fd), syscall.IPPROTO_IP, syscall.IP_MULTICAST_IF,
				&syscall.IPMreqn{Ifindex: int32(s.link.index)})
			return
		}
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_MULTICAST_IF, s.link.index)
	})
	return errors.Join(failed, err)
}

// send sends a message to the group. It never blocks: the kernel takes the
// datagram or returns an error. net.PacketConn would wait for room in the socket's
// buffer.
func (s *socket) send(m []byte) error {
	var to syscall.Sockaddr = &syscall.SockaddrInet4{Port: port, Addr: group4}
	if !s.v4 {
		to = &syscall.SockaddrInet6{Port: port, Addr: group6, ZoneId: uint32(s.link.index)}
	}
	c, err := s.PacketConn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	failed := c.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), m, 0, to) })
	return errors.Join(failed, err)
}

// close closes the sockets, which ends the readers.
func (q *inquiry) close() {
	for _, s := range q.sockets {
		s.Close()
	}
}

// send sends the queries for IPv4 and IPv6 addresses on every socket. Errors are
// ignored: an interface that is down now may be up at the next interval.
func (q *inquiry) send() {
	for _, kind := range []uint16{typeA, typeAAAA} {
		m := query(q.id, q.wanted, kind)
		for _, s := range q.sockets {
			s.send(m)
		}
	}
}

// follow sends a new query if an answer had an alias and no address. From then on
// answers for the first name are ignored.
func (q *inquiry) follow(alias name) {
	if alias != "" && alias != q.wanted && q.hops < maxAliases {
		q.wanted = alias
		q.hops++
		q.send()
	}
}

// read passes on the messages that a socket receives, until the socket is closed
// or ctx is done. It runs in a goroutine of its own.
func (q *inquiry) read(ctx context.Context, s socket) {
	m := make([]byte, maxPacket)
	for {
		n, err := s.PacketConn.(net.Conn).Read(m) // whoever sent it: decode checks the message
		if err != nil {
			return
		}
		select {
		case q.received <- datagram{slices.Clone(m[:n]), s.link}:
		case <-ctx.Done():
			return
		}
	}
}
