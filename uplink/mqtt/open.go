package mqtt

import (
	"context"
	"net"
	"net/url"
)

// OpenSocket connects to one of the broker's servers with the layers of its scheme
// (TCP, TLS, WebSocket), for a client of MQTT of the caller's own, and returns the
// password of the account. No packet has been sent. The error names what to change
// in the configuration. The caller closes the socket.
func (b Broker) OpenSocket(ctx context.Context, server *url.URL) (socket net.Conn, password string, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.limits().Connect)
	defer cancel()
	if password, err = b.Password.Read(ctx); err != nil {
		return nil, "", err
	}
	config, err := b.TLS.config(ctx, server.Hostname(), func([]Certificate) {})
	if err != nil {
		return nil, "", err
	}
	if socket, err = openSocket(ctx, b, server, config); err != nil {
		return nil, "", explainBroker(b.TLS.explainUntrusted(ctx, err))
	}
	return socket, password, nil
}
