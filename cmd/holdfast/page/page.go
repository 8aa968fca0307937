// Package page serves what a node knows of itself over HTTP: the status page, its
// events, /metrics and /healthz.
//
// Nothing here runs unless [Serve] is called, and nothing is computed unless
// somebody looks. All of it is read-only, and needs nothing from elsewhere.
package page

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/holdfast-iot/holdfast/cmd/holdfast/control"
	"github.com/holdfast-iot/holdfast/cmd/holdfast/status"
	"github.com/holdfast-iot/holdfast/config"
)

const (
	// These limits bound what clients can cost: 64 connections at some 20 kB each are
	// little more than a megabyte.
	maxConns      = 64               // at a time; more are closed at once
	maxHeader     = 8 << 10          // bytes of a request
	headerTimeout = 5 * time.Second  // until a request is there
	idleTimeout   = time.Minute      // between two requests on one connection
	writeTimeout  = 10 * time.Second // until the kernel takes what we send
	goodbye       = time.Second      // for requests under way at the end
	retryListen   = time.Minute      // after the address was taken
	minToken      = 16               // characters
	socketMode    = 0o660            // of a unix socket: a web server in our group may connect
)

// A Node is what is shown; a [status.Collector] is one. Snapshot may be called from any
// goroutine. history asks for the values of the last hour as well: for a page that
// opens, not for each change.
type Node interface {
	Snapshot(history bool) status.Snapshot
}

// secrets are the files that the configuration names, as they are now.
type secrets struct {
	token string
	cert  *tls.Certificate // nil: no TLS
}

// Check reads the files that the page needs, so that a mistake shows at the start. nil
// is a configuration without a page, which is right. Nothing is listened on.
func Check(ctx context.Context, opt *config.Status) error {
	if opt == nil {
		return nil
	}
	_, err := readSecrets(ctx, opt)
	return err
}

// readSecrets reads them anew for each start of the page: a renewed certificate counts
// from the next SIGHUP on. A token that is too short is refused: it could be guessed,
// as wrong ones are not counted.
func readSecrets(ctx context.Context, opt *config.Status) (s secrets, err error) {
	if opt.Token.File != "" {
		s.token, err = opt.Token.Read(ctx)
		if err == nil && len(s.token) < minToken {
			err = fmt.Errorf("status.token_file: the token in %s has %d characters, and needs at least %d: "+
				"openssl rand -hex 16 makes one", opt.Token.File, len(s.token), minToken)
		}
	}
	if err == nil && opt.Cert != "" {
		s.cert, err = readPair(opt.Cert, opt.Key)
	}
	return s, err
}

const openToAll = 0o006 // read or written by others than the owner and the group

// readPair reads the certificate and its key, which others must not read. A key that is
// not a regular file is not judged by its mode.
func readPair(cert, key string) (*tls.Certificate, error) {
	if info, err := os.Stat(key); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&openToAll != 0 {
		return nil, fmt.Errorf("status.tls.key: %s (mode %04o) is open to every user of this machine: "+
			"chmod 600 %[1]s, or 640 for its group", key, info.Mode().Perm())
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("status.tls: %w", err)
	}
	return &pair, nil
}

// Serve serves the page until ctx is done, and returns its error. A page that cannot be
// served is a warning, and is tried again: the agent is worth more than it. The same
// error is logged once, however often it comes back. Serve blocks; there is one call
// for each configuration that runs.
func Serve(ctx context.Context, opt *config.Status, node Node, log *slog.Logger) error {
	for logged := ""; ctx.Err() == nil; {
		err := serve(ctx, opt, node, log)
		if ctx.Err() == nil && err.Error() != logged {
			log.Warn("no status page", "listen", opt.Listen, "err", err, "retry_every", retryListen)
			logged = err.Error()
		}
		select {
		case <-time.After(retryListen):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// serve serves until ctx is done, or says why it cannot. When it returns, its listener
// is closed and the hub takes no snapshots any more.
func serve(ctx context.Context, opt *config.Status, node Node, log *slog.Logger) error {
	secrets, err := readSecrets(ctx, opt)
	if err != nil {
		return err
	}
	listener, err := listen(opt)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx) // of every request: streams of events end with it
	defer end()
	s := newServer(node, newAccess(opt, secrets))
	web := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers send is not for the log
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	url := address(opt, listener, secrets.cert != nil)
	log.Info("status page", "url", url)
	if opt.Listening != nil {
		opt.Listening(url)
	}
	done := make(chan error, 1) // gets what ended the server: it has room, so nobody has to wait for it
	go func() {
		if secrets.cert == nil {
			done <- web.Serve(limit(listener))
			return
		}
		web.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*secrets.cert}}
		done <- web.ServeTLS(limit(listener), "", "")
	}()
	select {
	case err = <-done:
		web.Close()
	case <-ctx.Done():
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		err = errors.Join(ctx.Err(), web.Shutdown(late), web.Close())
		<-done
	}
	end() // the events end with it
	s.hub.wait()
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

// address is what a person types into a browser.
func address(opt *config.Status, l net.Listener, secure bool) string {
	if path := opt.UnixPath(); path != "" {
		return "unix:" + path
	}
	scheme, host := "http", l.Addr().String() // with the port that was given for port 0
	if secure {
		scheme = "https"
	}
	host = strings.Replace(host, "[::]", "localhost", 1)
	return scheme + "://" + host + "/"
}

// limit bounds how many connections there are at a time: each costs a goroutine and
// some 20 kB on a board with little memory.
func limit(l net.Listener) net.Listener { return &limited{l, make(chan struct{}, maxConns)} }

// limited is a listener with places, one token in the channel for each connection. A
// place is taken by Accept and given back when the connection is closed.
type limited struct {
	net.Listener
	places chan struct{}
}

// Accept returns the next connection for which there is a place, and closes those for
// which there is none. It is called by the server's own goroutine alone.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.places <- struct{}{}:
			return &limitedConn{Conn: conn, leave: func() { <-l.places }}, nil
		default:
			conn.Close() // it may try again
		}
	}
}
