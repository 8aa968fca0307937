// Package web has the code that the HTTP pages of the agent and of the recorder share: access
// control, the token and the certificate, and limits for clients.
package web

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
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-iot/holdfast/config"
)

// MaxConns is how many connections a page has at a time; more are closed at once.
const MaxConns = 64

const (
	// These limits bound what clients can cost: 64 connections at some 20 kB each are
	// little more than a megabyte.
	maxHeader   = 8 << 10         // bytes of a request
	readTimeout = 5 * time.Second // for a whole request, including a body, which the pages ignore
	idleTimeout = time.Minute     // between two requests on one connection
	endTimeout  = time.Second     // for current requests when the page ends
	minToken    = 16              // characters
	retryListen = time.Minute     // before a page that could not be served is tried again
)

// Secrets are the contents of the files that the configuration names.
type Secrets struct {
	Token string
	Cert  *tls.Certificate // nil: no TLS
}

// ReadSecrets reads the token and the certificate. It is called at each start of the page, so
// that a SIGHUP is enough after a certificate was renewed. A token that is too short is an
// error: it could be guessed, because the number of wrong tokens is not limited.
func ReadSecrets(ctx context.Context, opt *config.Status) (s Secrets, err error) {
	if opt.Token.File != "" {
		s.Token, err = opt.Token.Read(ctx)
		if err == nil && len(s.Token) < minToken {
			err = fmt.Errorf("status.token_file: the token in %s has %d characters, and needs at least %d: "+
				"openssl rand -hex 16 makes one", opt.Token.File, len(s.Token), minToken)
		}
	}
	if err == nil && opt.Cert != "" {
		s.Cert, err = readPair(opt.Cert, opt.Key)
	}
	return s, err
}

const openToAll = 0o006 // the mode bits with which every user can read or write a file

// readPair reads the certificate and its key. A key that every user can read is an error; the
// mode is checked for regular files only.
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

// Protect sets the security headers of every answer, also of refused requests. policy is the
// Content-Security-Policy.
func Protect(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// Keep calls serve repeatedly until ctx is done, and returns ctx.Err(). If serve fails, Keep
// logs a warning and tries again after retryListen: the program has to run without its page
// too. An error that repeats is logged once.
func Keep(ctx context.Context, opt *config.Status, log *slog.Logger, serve func() error) error {
	for logged := ""; ctx.Err() == nil; {
		err := serve()
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: end the program that listens there, or set another status.listen", err)
		}
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

// Serve answers requests with h until ctx is done, and returns why it ended. It closes the
// listener. The context of each request is done before Serve returns.
func Serve(ctx context.Context, l net.Listener, s Secrets, h http.Handler, log *slog.Logger) (err error) {
	requests, end := context.WithCancel(ctx) // streams of events end with it
	defer end()
	server := &http.Server{
		Handler: h,
		// Of the body, too: the server reads it before it answers. An answer may take longer.
		ReadTimeout:    readTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers send is not for the log
		BaseContext:    func(net.Listener) context.Context { return requests },
		Protocols:      new(http.Protocols),
	}
	// Only HTTP/1.1, however the program was built: build/agent leaves HTTP/2 out of it.
	server.Protocols.SetHTTP1(true)
	done := make(chan error, 1) // gets what ended the server: it has room, so nobody has to wait for it
	go func() {
		if s.Cert == nil {
			done <- server.Serve(limit(l))
			return
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*s.Cert}}
		done <- server.ServeTLS(limit(l), "", "")
	}()
	select {
	case err = <-done:
		server.Close()
	case <-ctx.Done():
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		err = errors.Join(ctx.Err(), server.Shutdown(late), server.Close())
		<-done
	}
	return err
}

// Address returns the URL of the page for a browser.
func Address(opt *config.Status, l net.Listener, s Secrets) string {
	if path := opt.UnixPath(); path != "" {
		return "unix:" + path
	}
	scheme, host := "http", l.Addr().String() // with the port that was given for port 0
	if s.Cert != nil {
		scheme = "https"
	}
	host = strings.Replace(host, "[::]", "localhost", 1)
	return scheme + "://" + host + "/"
}

// limit returns a listener with at most MaxConns open connections: each costs a goroutine and
// some 20 kB on a board with little memory.
func limit(l net.Listener) net.Listener { return &limited{l, make(chan struct{}, MaxConns)} }

// limited is a listener that counts its open connections: Accept puts a token into places, and
// closing the connection takes it out.
type limited struct {
	net.Listener
	places chan struct{}
}

// Accept returns the next connection, and closes connections while MaxConns are open. Only the
// server's own goroutine calls it.
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
			conn.Close() // the client may try again
		}
	}
}

// limitedConn calls leave when it is closed, but only once: net/http may close a connection
// more than once. The goroutine that serves the connection and the one that shuts the server
// down both use it.
type limitedConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close closes the connection and makes room for another one.
func (c *limitedConn) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
