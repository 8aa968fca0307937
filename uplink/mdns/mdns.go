// Package mdns finds the addresses of hosts whose names end in .local, such as
// homeassistant.local. Go's own resolver, in a program without C, asks the DNS
// for them, which does not have them.
//
// It asks the network itself by multicast DNS (RFC 6762, section 5.1), and
// avahi-daemon and systemd-resolved, if they run here. /etc/hosts comes before
// all of them, and the DNS after: some companies use .local as a domain of
// their own.
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

// IsLocal reports whether a name is one that multicast DNS is for.
func IsLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.HasSuffix(host, ".local") && len(host) > len(".local")
}

// A Resolver looks names up. The zero value asks on every link.
type Resolver struct {
	Bind string // an interface or an address of ours: what is found is reached from there

	local *local // nil: the usual
}

// local is what else of this machine may know a name.
type local struct {
	avahi, resolved string // sockets
	dns             *net.Resolver
}

var usual = &local{avahiSocket, resolvedSocket, net.DefaultResolver}

// Lookup returns the addresses of a host, the nearest first. Those of a link
// alone have its name as their zone.
func (r Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	host = strings.TrimSuffix(host, ".")
	asked, err := newName(host)
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
	if addrs := r.ask(ctx, host, asked, on); len(addrs) > 0 {
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

// hosts is /etc/hosts: whatever else is asked fails at once.
var hosts = net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("only /etc/hosts is read")
}}

// ask asks everybody at once, and returns what the first finds who knows the
// name. The DNS counts only when all others have nothing: that of some networks
// answers to every name.
func (r Resolver) ask(ctx context.Context, host string, asked name, on []link) []netip.Addr {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	start := func(ask func() ([]source, error), into chan<- []netip.Addr) {
		asking.Go(func() {
			found, _ := ask() // an error is as good as no address
			into <- r.reachable(found, on)
		})
	}
	here := cmp.Or(r.local, usual)
	answers, dns := make(chan []netip.Addr, 4), make(chan []netip.Addr, 1)
	start(func() ([]source, error) { return domainNames(ctx, here.dns, host) }, dns)
	start(func() ([]source, error) { return multicast(ctx, asked, on) }, answers)
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

func domainNames(ctx context.Context, dns *net.Resolver, host string) (found []source, err error) {
	texts, err := dns.LookupHost(ctx, host+".") // not under a domain to search
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			found = append(found, source{addr, 0})
		}
	}
	return found, err
}

// reachable are the addresses that can be dialled from where we are bound to:
// first those in a network of ours, then IPv4. Hosts with containers also
// announce addresses that nobody else can reach.
func (r Resolver) reachable(found []source, on []link) (addrs []netip.Addr) {
	ours, err := netip.ParseAddr(r.Bind)
	var ranked [4][]netip.Addr
	for _, s := range found {
		addr, rank := s.addr.Unmap(), 0
		if err == nil && addr.Is4() != ours.Unmap().Is4() {
			continue
		}
		l := linkOf(s, on)
		if l == nil && (addr.IsLinkLocalUnicast() || r.Bind != "" && s.on != 0) {
			continue // on another link, or on which?
		}
		if addr.Is6() && addr.IsLinkLocalUnicast() {
			addr = addr.WithZone(l.name)
		}
		if addr.Is6() {
			rank = 1
		}
		if l == nil || !l.near(addr) {
			rank += 2
		}
		ranked[rank] = append(ranked[rank], addr)
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

// linkOf is where an address was heard; nil if we do not ask there.
func linkOf(s source, on []link) *link {
	for i := range on {
		if on[i].index == s.on {
			return &on[i]
		}
	}
	return nil
}
