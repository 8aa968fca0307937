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
	patience  = 3500 * time.Millisecond // with the network: Wi-Fi loses multicasts, so we ask again
	askAgain  = time.Second             // RFC 6762, section 5.2: not sooner
	settle    = 150 * time.Millisecond  // after the first answer, for those of the other kind and of other links
	maxLinks  = 16                      // a machine with containers may have hundreds
	maxAddrs  = 16                      // for each name
	maxPacket = 9000                    // bytes: RFC 6762, section 17
	port      = 5353
)

// The groups: RFC 6762, section 3.
var (
	group4 = [4]byte{224, 0, 0, 251}
	group6 = [16]byte{0: 0xff, 1: 0x02, 15: 0xfb}
)

// A link is an interface with its addresses.
type link struct {
	name     string
	index    int
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

// is reports whether a name or an address is the interface's.
func (l *link) is(bind string) bool {
	host, _, _ := strings.Cut(bind, "%")
	ip := net.ParseIP(host)
	for _, n := range l.networks {
		if ip != nil && n.IP.Equal(ip) {
			return true
		}
	}
	return l.name == bind
}

// links are where to ask: on what we are bound to, an interface or an address,
// else on each interface that is up and takes multicasts.
func links(bind string) ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var chosen []link
	for _, i := range all {
		const want = net.FlagUp | net.FlagMulticast
		l := link{name: i.Name, index: i.Index}
		addrs, _ := i.Addrs() // it may have gone
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				l.networks = append(l.networks, n)
			}
		}
		switch {
		case l.is(bind):
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

// A source is an address and the index of the interface where it was heard; 0:
// of no one in particular.
type source struct {
	addr netip.Addr
	on   int
}

// An inquiry asks for one name on several links.
type inquiry struct {
	asked   name
	hops    int // from alias to alias
	id      uint16
	sockets []socket
	heard   chan datagram
}

type socket struct {
	net.PacketConn
	link *link
	v4   bool
}

type datagram struct {
	message []byte
	link    *link
}

// multicast asks on each link by IPv4 and IPv6, as RFC 6762, section 5.1, has it
// for programs that ask now and then: from any port, so that answers come to us
// alone. It returns what the first answers say.
func multicast(ctx context.Context, asked name, on []link) ([]source, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	q := &inquiry{asked: asked, id: uint16(rand.Uint32()), heard: make(chan datagram)}
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

// run asks until there are addresses, or ctx is done.
func (q *inquiry) run(ctx context.Context) (found []source, err error) {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	var settled <-chan time.Time
	for q.ask(); ; {
		select {
		case d := <-q.heard:
			a, err := decode(d.message, q.id, q.asked)
			if err != nil {
				continue // anybody may send us anything
			}
			for _, addr := range a.addrs {
				if s := (source{addr, d.link.index}); !slices.Contains(found, s) && len(found) < maxAddrs {
					found = append(found, s)
				}
			}
			q.follow(a.alias)
			if len(found) > 0 && settled == nil {
				settled = time.After(settle)
			}
		case <-again.C:
			q.ask()
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

// open makes the sockets for one link. It is enough if one of them works.
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

// leaveBy makes multicasts leave by the link's interface, whatever the routes
// say.
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

// send sends to the group. The kernel takes a datagram or drops it: nothing
// waits.
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

func (q *inquiry) close() {
	for _, s := range q.sockets {
		s.Close()
	}
}

// ask sends the query for both kinds of addresses. A link that takes none now
// may take the next.
func (q *inquiry) ask() {
	for _, kind := range []uint16{typeA, typeAAAA} {
		m := query(q.id, q.asked, kind)
		for _, s := range q.sockets {
			s.send(m)
		}
	}
}

// follow asks for what a name stands for, if the answer was no more than that.
func (q *inquiry) follow(alias name) {
	if alias != "" && alias != q.asked && q.hops < maxAliases {
		q.asked = alias
		q.hops++
		q.ask()
	}
}

// read hands on what comes to a socket until it is closed.
func (q *inquiry) read(ctx context.Context, s socket) {
	m := make([]byte, maxPacket)
	for {
		n, err := s.PacketConn.(net.Conn).Read(m) // from anybody
		if err != nil {
			return
		}
		select {
		case q.heard <- datagram{slices.Clone(m[:n]), s.link}:
		case <-ctx.Done():
			return
		}
	}
}
