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

const (
	// dialAhead is how long one address of a host is tried alone, before the next is
	// tried at the same time: the "Connection Attempt Delay" of RFC 8305, section 5.
	dialAhead = 250 * time.Millisecond
	// dialAgain is how long an attempt to look up a name and connect is waited for,
	// before another one starts at the same time. The first packet on a link that was
	// down is often lost; the resolver would repeat it after 5 s, and the kernel (before
	// Linux 6.5) at intervals that double.
	dialAgain = time.Second
	// maxDials is how many attempts wait at the same time.
	maxDials = 16
)

// A tcpDialer connects by TCP, also to hosts whose names end in .local, which Go's
// own resolver does not find. It may be used by several goroutines.
type tcpDialer struct {
	net.Dialer
	bind    string                                                      // Broker.Bind
	instead func(ctx context.Context, address string) (net.Conn, error) // Broker.Network
}

// DialContext connects to host:port. It has the signature that the WebSocket library
// wants.
func (d *tcpDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.instead != nil {
		return d.instead(ctx, address)
	}
	conn, err := d.connect(ctx, network, address)
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return &promptConn{TCPConn: tcp, left: promptReads}, nil
	}
	return conn, err
}

// connect connects by the kernel's network.
func (d *tcpDialer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || !mdns.IsLocal(host) {
		return d.dialHost(ctx, network, address)
	}
	addrs, err := mdns.Resolver{Bind: d.bind}.Lookup(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return d.dialAny(ctx, network, addrs, port)
}

// dialHost connects to a host. While there is no result, it starts another attempt
// each dialAgain. The first result counts, even if it is a failure.
func (d *tcpDialer) dialHost(ctx context.Context, network, address string) (net.Conn, error) {
	r := newRace(ctx, maxDials)
	defer r.end()
	again := time.NewTicker(dialAgain)
	defer again.Stop()
	for started := 1; ; started++ {
		if started <= maxDials {
			dialer := d.Dialer
			dialer.Resolver = new(net.Resolver) // one that is shared would join the look-ups of all attempts
			r.start(func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, network, address) })
		}
		select {
		case first := <-r.results:
			return first.Conn, first.error
		case <-again.C:
		}
	}
}

// dialAny connects to the first address that answers: "Happy Eyeballs", RFC 8305,
// section 5. They are tried in order, each dialAhead after the one before, or at
// once when that has failed. The error joins those of all addresses.
func (d *tcpDialer) dialAny(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	r := newRace(ctx, len(addrs))
	defer r.end()
	next := time.NewTimer(0)
	defer next.Stop()
	var failed error
	for started, ended := 0, 0; ended < len(addrs); {
		select {
		case <-next.C:
			if started < len(addrs) {
				address := net.JoinHostPort(addrs[started].String(), port)
				r.start(func(ctx context.Context) (net.Conn, error) { return d.dialHost(ctx, network, address) })
				started++
				next.Reset(dialAhead)
			}
		case one := <-r.results:
			if one.error == nil {
				return one.Conn, nil
			}
			ended++
			failed = errors.Join(failed, one.error)
			next.Reset(0)
		}
	}
	return nil, failed
}

// A race is a set of attempts to connect that run at the same time. One goroutine
// starts them, takes their results and ends the race.
type race struct {
	ctx     context.Context // of the attempts
	cancel  context.CancelFunc
	results chan dialed // has room for all attempts, so that none blocks
	dialing sync.WaitGroup
}

// A dialed is the result of an attempt: a connection or an error.
type dialed struct {
	net.Conn
	error
}

// newRace returns a race of at most so many attempts.
func newRace(ctx context.Context, attempts int) *race {
	r := &race{results: make(chan dialed, attempts)}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// start starts an attempt in a goroutine of its own.
func (r *race) start(dial func(context.Context) (net.Conn, error)) {
	r.dialing.Go(func() {
		conn, err := dial(r.ctx)
		r.results <- dialed{conn, err}
	})
}

// end ends all attempts, and closes the connections whose results were not taken.
func (r *race) end() {
	r.cancel()
	r.dialing.Wait()
	close(r.results)
	for late := range r.results {
		if late.error == nil {
			late.Close()
		}
	}
}

// dialTLS connects and performs the TLS handshake.
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
