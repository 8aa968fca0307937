package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/holdfast-iot/holdfast/uplink/mdns"
)

// dialAhead is how long one address of a host has before the next is tried
// beside it: RFC 8305, section 5.
const dialAhead = 250 * time.Millisecond

// A tcpDialer connects by TCP, also to hosts whose names end in .local, which
// Go's own resolver does not find.
type tcpDialer struct {
	net.Dialer
	bind    string                                                      // as Broker has it
	instead func(ctx context.Context, address string) (net.Conn, error) // Broker.Network
}

func (d *tcpDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.instead != nil {
		return d.instead(ctx, address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || !mdns.IsLocal(host) {
		return d.Dialer.DialContext(ctx, network, address)
	}
	addrs, err := mdns.Resolver{Bind: d.bind}.Lookup(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return d.dialAny(ctx, network, addrs, port)
}

// dialAny connects to the first address that answers. They are tried in order,
// each a little after the one before, or at once when that fails.
func (d *tcpDialer) dialAny(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		net.Conn
		error
	}
	results := make(chan result, len(addrs))
	var dialing sync.WaitGroup
	start := func(a netip.Addr) {
		dialing.Go(func() {
			conn, err := d.Dialer.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
			results <- result{conn, err}
		})
	}
	defer func() {
		cancel()
		dialing.Wait()
		for close(results); ; {
			late, ok := <-results
			if !ok {
				return
			}
			if late.error == nil {
				late.Close()
			}
		}
	}()
	next := time.NewTimer(0)
	defer next.Stop()
	var failed error
	for started, ended := 0, 0; ended < len(addrs); {
		select {
		case <-next.C:
			if started < len(addrs) {
				start(addrs[started])
				started++
				next.Reset(dialAhead)
			}
		case r := <-results:
			if r.error == nil {
				return r.Conn, nil
			}
			ended++
			failed = errors.Join(failed, r.error)
			next.Reset(0)
		}
	}
	return nil, failed
}

// dialTLS connects and shakes hands.
func (d *tcpDialer) dialTLS(ctx context.Context, address string, config *tls.Config) (net.Conn, error) {
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}
