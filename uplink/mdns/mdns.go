// Package mdns finds the addresses of hosts whose names end in .local, such as
// homeassistant.local. Go's own resolver, in a program without cgo, sends such a
// query to the DNS, which does not know these names.
//
// The package queries the network itself by multicast DNS (RFC 6762, section
// 5.1), and avahi-daemon and systemd-resolved, if they run on this machine.
// /etc/hosts comes before all of them, and the DNS after them: some companies use
// .local as a domain of their own.
//
// # Concurrency
//
// A [Resolver] may be used by several goroutines at the same time. [Resolver.Lookup]
// waits for every goroutine that it starts before it returns.
package mdns

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// IsLocal reports whether multicast DNS is responsible for a name: it is below
// .local, in any case, with or without the last dot. RFC 6762, section 3.
func IsLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.HasSuffix(host, ".local") && len(host) > len(".local")
}

// A Resolver looks up names. The zero value queries every interface.
type Resolver struct {
	// Bind is an interface or an address of this machine, as in mqtt.bind of the
	// configuration: only that interface is queried, and Lookup returns only
	// addresses that can be reached from it. Empty: all interfaces.
	Bind string

	services *services // nil: defaultServices; tests replace it
}

// services are the other places on this machine that may know a name. Each may
// be missing: the lookup goes on with the rest.
type services struct {
	avahi, resolved string // paths of their Unix sockets
	dns             *net.Resolver
}

var defaultServices = &services{avahiSocket, resolvedSocket, net.DefaultResolver}

// Lookup returns the addresses of a host, those in a network of this machine
// first. A link-local IPv6 address has the interface's name as its zone, so that
// it can be dialled. The search ends after searchTimeout or with ctx.
//
// The error is a [net.DNSError]: IsNotFound if the name is not valid or nobody
// knows it, IsTemporary if no interface can be queried. It is the error of ctx if
// that is done.
func (r Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	host = strings.TrimSuffix(host, ".")
	wanted, err := newName(host)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: host, IsNotFound: true}
	}
	on, err := links(r.Bind)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: host, IsTemporary: true}
	}
	written, _ := domainNames(ctx, &hosts, host)
	if addrs := r.reachable(written, on); len(addrs) > 0 {
		return addrs, nil
	}
	if addrs := r.search(ctx, host, wanted, on); len(addrs) > 0 {
		return addrs, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var names []string
	for _, l := range on {
		names = append(names, l.name)
	}
	return nil, &net.DNSError{Name: host, IsNotFound: true, Err: "nobody answers to this name by multicast DNS on " +
		strings.Join(names, ", ") +
		", and the DNS does not have it: see that the host runs, and in this network; its address works without"}
}

// hosts reads /etc/hosts alone: a query to a DNS server fails before it is sent.
var hosts = net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("only /etc/hosts is read")
}}

// search queries all services at the same time, and returns the addresses of the
// first that has one. The answer of the DNS counts only when all others have
// nothing: the DNS servers of some networks have an address for every name.
//
// Each channel has room for all that is sent to it, so no goroutine blocks when
// the first answer ends the search.
func (r Resolver) search(ctx context.Context, host string, wanted name, on []link) []netip.Addr {
	ctx, cancel := context.WithCancel(ctx)
	var searching sync.WaitGroup
	defer searching.Wait()
	defer cancel()
	start := func(find func() ([]source, error), into chan<- []netip.Addr) {
		searching.Go(func() {
			found, _ := find() // a service that fails counts as one that has no address
			into <- r.reachable(found, on)
		})
	}
	here := cmp.Or(r.services, defaultServices)
	answers, dns := make(chan []netip.Addr, 4), make(chan []netip.Addr, 1)
	start(func() ([]source, error) { return domainNames(ctx, here.dns, host) }, dns)
	start(func() ([]source, error) { return multicast(ctx, wanted, on) }, answers)
	start(func() ([]source, error) { return resolved(ctx, here.resolved, host) }, answers)
	start(func() ([]source, error) { return avahi(ctx, here.avahi, host, "IPV4") }, answers)
	start(func() ([]source, error) { return avahi(ctx, here.avahi, host, "IPV6") }, answers)
	for range cap(answers) {
		if addrs := <-answers; len(addrs) > 0 {
			return addrs
		}
	}
	return <-dns
}

// domainNames looks up a host by a resolver of Go's. Its addresses belong to no
// interface in particular.
func domainNames(ctx context.Context, dns *net.Resolver, host string) (found []source, err error) {
	texts, err := dns.LookupHost(ctx, host+".") // the dot: the search domains of resolv.conf are not appended
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			found = append(found, source{addr, 0})
		}
	}
	return found, err
}

// ranks is the number of values that rank returns.
const ranks = 4

// reachable returns the addresses that can be dialled from where r is bound, each
// once, ordered by rank and then as they were found.
func (r Resolver) reachable(found []source, on []link) (addrs []netip.Addr) {
	var ranked [ranks][]netip.Addr
	for _, s := range found {
		l := linkOf(s, on)
		if addr, ok := r.dialable(s, l); ok {
			n := rank(addr, l)
			ranked[n] = append(ranked[n], addr)
		}
	}
	for _, same := range ranked {
		for _, addr := range same {
			if !slices.Contains(addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// dialable returns a source's address as it has to be dialled: IPv4 not mapped
// into IPv6, and a link-local one with its zone. It reports false for an address
// that cannot be dialled: one of the other IP version than the address that r is
// bound to, one of an interface that is not queried, or a link-local one whose
// interface is unknown (l is nil).
func (r Resolver) dialable(s source, l *link) (netip.Addr, bool) {
	addr := s.addr.Unmap()
	if bound, err := netip.ParseAddr(r.Bind); err == nil && addr.Is4() != bound.Unmap().Is4() {
		return addr, false
	}
	if l == nil && (addr.IsLinkLocalUnicast() || r.Bind != "" && s.on != 0) {
		return addr, false
	}
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(l.name)
	}
	return addr, true
}

// rank orders addresses: those in a network of this machine come first, because
// hosts with containers also announce addresses that no other machine can reach;
// then IPv4, which is more often routed.
func rank(addr netip.Addr, l *link) (n int) {
	if addr.Is6() {
		n = 1
	}
	if l == nil || !l.near(addr) {
		n += 2
	}
	return n
}

// linkOf is the interface on which an address was received; nil if it is none of
// those that are queried.
func linkOf(s source, on []link) *link {
	for i := range on {
		if on[i].index == s.on {
			return &on[i]
		}
	}
	return nil
}
