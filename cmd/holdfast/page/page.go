// Package page serves the state of a node over HTTP: the status page, its events, /metrics
// and /healthz.
//
// Nothing runs unless [Serve] is called, and nothing is computed unless a client is
// connected. Everything is read-only, and loads nothing from other servers.
package page

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/cmd/web"
	"github.com/holdfast-iot/holdfast/config"
)

const (
	writeTimeout = 10 * time.Second // for the client to take an answer
	socketMode   = 0o660            // of a unix socket: a web server in the agent's group may connect
)

// A Node provides snapshots; a [status.Collector] is one. Snapshot may be called from any
// goroutine. history also requests the values of the last hour: it is set when a page
// opens, not for each update.
type Node interface {
	Snapshot(history bool) status.Snapshot
}

// Check reads the files that the page needs, so that errors appear at the start. opt may be
// nil: a configuration without a page is valid. Check opens no port.
func Check(ctx context.Context, opt *config.Status) error {
	if opt == nil {
		return nil
	}
	_, err := web.ReadSecrets(ctx, opt)
	return err
}

// Serve serves the page until ctx is done, and returns its error. If it cannot listen it
// logs a warning and tries again, because the agent works without the page. Serve blocks;
// it is called once for each running configuration.
func Serve(ctx context.Context, opt *config.Status, node Node, log *slog.Logger) error {
	return web.Keep(ctx, opt, log, func() error { return serve(ctx, opt, node, log) })
}

// serve serves until ctx is done or it fails. When it returns, its listener is closed and
// the hub takes no more snapshots.
func serve(ctx context.Context, opt *config.Status, node Node, log *slog.Logger) error {
	secrets, err := web.ReadSecrets(ctx, opt)
	if err != nil {
		return err
	}
	listener, err := listen(opt)
	if err != nil {
		return err
	}
	s := newServer(node, web.NewAccess(opt, secrets))
	url := web.Address(opt, listener, secrets)
	log.Info("status page", "url", url)
	if opt.Listening != nil {
		opt.Listening(url)
	}
	err = web.Serve(ctx, listener, secrets, s, log)
	s.hub.wait() // all requests have ended, including those for events
	return err
}

// listen opens the port or the socket. Its errors include the address or the path.
func listen(opt *config.Status) (net.Listener, error) {
	if path := opt.UnixPath(); path != "" {
		l, err := control.Listen(path, socketMode)
		if err != nil {
			return nil, err
		}
		return l, nil // the socket file stays, and the next agent replaces it
	}
	return net.Listen("tcp", opt.Listen)
}
