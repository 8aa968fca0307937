// Package page serves what a node knows of itself over HTTP: the status page, its
// events, /metrics and /healthz.
//
// Nothing here runs unless [Serve] is called, and nothing is computed unless
// somebody looks. All of it is read-only, and needs nothing from elsewhere.
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
	writeTimeout = 10 * time.Second // until the kernel takes what we send
	socketMode   = 0o660            // of a unix socket: a web server in our group may connect
)

// A Node is what is shown; a [status.Collector] is one. Snapshot may be called from any
// goroutine. history asks for the values of the last hour as well: for a page that
// opens, not for each change.
type Node interface {
	Snapshot(history bool) status.Snapshot
}

// Check reads the files that the page needs, so that a mistake shows at the start. nil
// is a configuration without a page, which is right. Nothing is listened on.
func Check(ctx context.Context, opt *config.Status) error {
	if opt == nil {
		return nil
	}
	_, err := web.ReadSecrets(ctx, opt)
	return err
}

// Serve serves the page until ctx is done, and returns its error. A page that cannot be
// served is a warning, and is tried again: the agent is worth more than it. Serve blocks; there is one call
// for each configuration that runs.
func Serve(ctx context.Context, opt *config.Status, node Node, log *slog.Logger) error {
	return web.Keep(ctx, opt, log, func() error { return serve(ctx, opt, node, log) })
}

// serve serves until ctx is done, or says why it cannot. When it returns, its listener
// is closed and the hub takes no snapshots any more.
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
	s.hub.wait() // the requests have ended, and the events with them
	return err
}

// listen opens the port or the socket. Its errors have the address or the path in them.
func listen(opt *config.Status) (net.Listener, error) {
	if path := opt.UnixPath(); path != "" {
		l, err := control.Listen(path, socketMode)
		if err != nil {
			return nil, err
		}
		return l, nil // its name stays, and the next agent takes it over
	}
	return net.Listen("tcp", opt.Listen)
}
